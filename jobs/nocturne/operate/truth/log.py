"""Tells MLflow, and people, what the labels of nights have shown."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from nocturne import config, report
from nocturne.config import Loaded
from nocturne.model.tracking import without_secret
from nocturne.operate.truth.nights import NightTruth, known_truth, mark
from nocturne.pipeline.nights import PublishedNights
from nocturne.pipeline.runs import logged_to
from nocturne.records.truth import Truth
from nocturne.store.files import write_atomic
from nocturne.store.partition_state import PartitionState

__all__ = ["is_told", "log_truths", "note_told"]

log = logging.getLogger(__name__)


def log_truths(loaded: Loaded, found: Sequence[NightTruth]) -> None:
    """Log each night's truth, unless it is logged. Without MLflow a warning is logged instead."""
    nights = PublishedNights(loaded)
    for one, truth in _counted(found):
        logged = mark(_state(loaded, nights, one), truth, "logged")
        if logged.is_file() or not truth.model:
            continue
        try:
            report.log_truth(
                loaded.pipeline.name,
                (one.partition, truth),
                lambda: _all(loaded, nights),
                **logged_to(loaded),
            )
        except Exception as error:
            log.warning(
                "the truth of %s is not in MLflow: %s: %s. It is kept with the night; `nocturne "
                "truth %s --date %s` logs it once MLflow answers",
                one.partition,
                type(error).__name__,
                without_secret(str(error)),
                loaded.pipeline.name,
                one.partition,
            )
            return
        write_atomic(logged, b"")


def note_told(loaded: Loaded, found: Sequence[NightTruth]) -> None:
    """Note that somebody was told what is beyond ``labels.bounds``."""
    nights = PublishedNights(loaded)
    for one, truth in _counted(found):
        if truth.beyond:
            write_atomic(mark(_state(loaded, nights, one), truth, "told"), b"")


def is_told(loaded: Loaded, one: NightTruth) -> bool:
    """Whether nobody has to be told of this truth: nothing is beyond its bounds, or it was told."""
    if one.truth is None or not one.truth.beyond:
        return True
    return bool(mark(_state(loaded, PublishedNights(loaded), one), one.truth, "told").is_file())


def _counted(found: Sequence[NightTruth]) -> Iterator[tuple[NightTruth, Truth]]:
    return ((one, one.truth) for one in found if one.truth is not None)


def _state(loaded: Loaded, nights: PublishedNights, one: NightTruth) -> PartitionState:
    return nights.state_of(config.partition(loaded.pipeline.input.partition, one.partition))


def _all(loaded: Loaded, nights: PublishedNights) -> Iterator[tuple[str, Truth]]:
    """The last truth of every night that has one of its published scores."""
    for night in nights.all():
        truth = known_truth(nights.state_of(night.manifest.partition))
        if truth is not None and truth.model and truth.manifest == night.manifest.id:
            yield night.key, truth
