"""Which nights are to be judged by their labels now: what the DAG of the truth looks for."""

from __future__ import annotations

import datetime as dt

from nocturne.config import Loaded, end_of
from nocturne.errors import NocturneError, NotReady, RetryableError, StoreRefused
from nocturne.operate.truth.files import label_table, signature
from nocturne.operate.truth.marks import is_logged, told_file
from nocturne.operate.truth.sides import Sides, truth_of
from nocturne.records.manifest import Manifest
from nocturne.records.partition import Partition
from nocturne.store.files import digest
from nocturne.store.partition_state import PartitionState

__all__ = ["due_nights", "labels_seen"]

_AWAY = (RetryableError, StoreRefused)
"""Errors of a store or a catalog, and not of one night."""


def due_nights(loaded: Loaded, at: dt.datetime | None = None) -> list[Partition]:
    """Published nights whose labels are there, and were not counted yet or may have changed.

    A night that can't be read is among them, since who counts it says why.

    Args:
        at: the time; default: now.

    Raises:
        ConfigError: the pipeline has no ``labels``.
        RetryableError, StoreRefused: a store, or a catalog, does not answer, or refuses.
    """
    return [night for night, _ in _due(Sides(loaded), at or dt.datetime.now(dt.UTC))]


def labels_seen(loaded: Loaded, at: dt.datetime | None = None) -> dict[str, str]:
    """For each due night a digest of its scores and label files: another one is to be counted.

    A night whose labels are being written is not among them.

    Raises:
        RetryableError, StoreRefused, ConfigError: as of ``due_nights``.
    """
    sides, seen = Sides(loaded), dict[str, str]()
    labels = label_table(loaded, sides.labels)
    for night, scores in _due(sides, at or dt.datetime.now(dt.UTC)):
        try:
            files = signature(labels.listing(night).files)
            seen[night.key] = digest(scores, files)[:16]
        except NotReady:
            continue
        except _AWAY:
            raise
        except (NocturneError, OSError) as error:
            seen[night.key] = digest(scores, str(error))[:16]
    return seen


def _due(sides: Sides, at: dt.datetime) -> list[tuple[Partition, str]]:
    """The due nights, each with what its truth is counted of."""
    labels, loaded = sides.labels, sides.loaded
    table, found = label_table(loaded, labels), list[tuple[Partition, str]]()
    with sides.listed():
        for night in sides.partitions():
            for_s = (at - _end(loaded, night)).total_seconds() - labels.delay_hours * 3600
            if for_s < 0:
                continue
            is_settled = for_s > labels.settle_days * 86_400
            try:
                if (manifest := sides.manifest(night)) is None:
                    continue
                asked = sides.asked(sides.beside(night))
                done = is_settled and loaded.pipeline.input.partition
                if done and _is_done(sides.state(night), manifest, asked):
                    continue
                if table.has(night):
                    found.append((night, f"{manifest.id} {asked}"))
            except _AWAY:
                raise
            except (NocturneError, OSError) as error:
                found.append((night, str(error)))
    return found


_DONE: dict[str, tuple[str, str]] = {}
"""What is done, as far as this process knows: a watcher asks every few minutes."""


def _is_done(state: PartitionState, manifest: Manifest, asked: str) -> bool:
    """Whether that was counted and logged, and somebody told of what is beyond the bounds.

    Who counted it may have been killed before it was, or MLflow did not answer.
    """
    name, scores = str(state.place("truth")), (manifest.id, asked)
    if _DONE.get(name) == scores:
        return True
    truth = truth_of(state, manifest)
    if truth is None or truth.asked != asked:
        return False
    if truth.model and not is_logged(state, truth):
        return False
    if truth.beyond and not told_file(state, truth.number).is_file():
        return False
    _DONE[name] = scores
    return True


def _end(loaded: Loaded, night: Partition) -> dt.datetime:
    """The end of a partition; of an unpartitioned table a time long ago."""
    if not loaded.pipeline.input.partition:
        return dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return end_of(loaded.pipeline.input.partition, night.key, loaded.pipeline.schedule.timezone)
