"""Tells MLflow, and people, what the labels of nights have shown."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from nocturne import config, report
from nocturne.config import Loaded
from nocturne.errors import ConfigError, NocturneError
from nocturne.model.tracking import without_secret
from nocturne.operate.truth.marks import is_logged, logged_file, told_file
from nocturne.operate.truth.nights import NightTruth
from nocturne.operate.truth.sides import Sides, truth_of
from nocturne.pipeline.runs import logged_to
from nocturne.records.partition import Partition
from nocturne.records.truth import Truth
from nocturne.store.files import write_atomic
from nocturne.store.partition_state import PartitionState

__all__ = ["log_truths", "note_told", "untold"]

log = logging.getLogger(__name__)


def log_truths(loaded: Loaded, found: Sequence[NightTruth]) -> None:
    """Log each night's truth, unless it is logged. Without MLflow a warning is logged instead."""
    sides = Sides(loaded)
    for one in found:
        truth = one.truth
        if truth is None or not truth.model:
            continue
        state = _state(sides, one.partition)
        if is_logged(state, truth):
            continue
        try:
            report.log_truth(
                loaded.pipeline.name,
                (one.partition, truth),
                lambda: _all(sides),
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
        write_atomic(logged_file(state), b"%d" % truth.number)


def note_told(loaded: Loaded, told: Sequence[str]) -> None:
    """Note that somebody was told what is beyond ``labels.bounds``.

    Args:
        told: ``PARTITION:NUMBER`` of each version of a night's truth.

    Raises:
        ConfigError: one is not of that form.
    """
    sides = Sides(loaded)
    for name in told:
        key, _, number = name.rpartition(":")
        if not (key and number.isdecimal()):
            raise ConfigError(f"--told: got {name!r}, expected PARTITION:NUMBER")
        write_atomic(told_file(_state(sides, key), int(number)), b"")


def untold(loaded: Loaded, found: Sequence[NightTruth]) -> dict[str, list[str]]:
    """``PARTITION:NUMBER`` -> what was beyond the bounds, of which nobody was told yet."""
    sides = Sides(loaded)
    return {
        f"{one.partition}:{one.truth.number}": list(one.truth.beyond)
        for one in found
        if one.truth is not None
        and one.truth.beyond
        and not told_file(_state(sides, one.partition), one.truth.number).is_file()
    }


def _state(sides: Sides, key: str) -> PartitionState:
    names = sides.loaded.pipeline.input.partition
    return sides.state(config.partition(names, key) if names else Partition("all"))


def _all(sides: Sides) -> Iterator[tuple[str, Truth]]:
    """The last truth of the published scores of every night that has one and can be read."""
    for night in sides.partitions():
        try:
            manifest = sides.manifest(night)
            truth = truth_of(sides.state(night), manifest) if manifest is not None else None
        except NocturneError as error:
            log.warning("%s is not logged: %s", night.key, error)
            continue
        if truth is not None and truth.model:
            yield night.key, truth
