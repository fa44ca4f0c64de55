"""Which nights are to be judged by their labels now: what the DAG of the truth looks for."""

from __future__ import annotations

import datetime as dt

from nocturne.config import Loaded, end_of
from nocturne.config.labels import Labels
from nocturne.errors import NocturneError
from nocturne.operate.truth.files import label_table
from nocturne.operate.truth.nights import known_truth, labels_of, mark
from nocturne.pipeline.nights import PublishedNights
from nocturne.pipeline.places import Places
from nocturne.records.partition import Partition
from nocturne.store.files import digest
from nocturne.store.partition_state import PartitionState

__all__ = ["due_nights", "labels_seen"]


def due_nights(loaded: Loaded, at: dt.datetime | None = None) -> list[Partition]:
    """Published nights whose labels are there, and were not counted yet or may have changed.

    Args:
        at: the time; default: now.

    Raises:
        ConfigError: the pipeline has no ``labels``.
    """
    return [night for night, _ in _due(loaded, labels_of(loaded), at or dt.datetime.now(dt.UTC))]


def labels_seen(loaded: Loaded, at: dt.datetime | None = None) -> dict[str, str]:
    """For each due night a digest of its scores and label files: another one is to be counted.

    Raises:
        NocturneError: the labels, or the state, can't be read.
    """
    labels, seen = labels_of(loaded), dict[str, str]()
    table = label_table(loaded, labels)
    for night, manifest in _due(loaded, labels, at or dt.datetime.now(dt.UTC)):
        files = [(str(path), path.stat()) for path in table.listing(night).files]
        seen[night.key] = digest(manifest, [(p, s.st_size, s.st_mtime_ns) for p, s in files])[:16]
    return seen


def _due(loaded: Loaded, labels: Labels, at: dt.datetime) -> list[tuple[Partition, str]]:
    """The due nights, each with the id of its manifest."""
    nights, table = PublishedNights(loaded), label_table(loaded, labels)
    whole = None if loaded.pipeline.input.partition else "all"
    found = []
    with Places.of(loaded).state.listed():
        for night in nights.partitions(whole):
            there = _there(loaded, night) + dt.timedelta(hours=labels.delay_hours)
            if at < there:
                continue
            is_settled = at > there + dt.timedelta(days=labels.settle_days) and whole is None
            try:
                manifest = nights.manifest(night).id
                if is_settled and _is_done(nights.state_of(night), manifest):
                    continue
                if table.has(night):
                    found.append((night, manifest))
            except NocturneError:
                continue  # not published, or it can't be read: `nocturne truth --date` says why
    return found


_DONE: dict[str, str] = {}
"""The scores that are done, as far as this process knows: a watcher asks every few minutes."""


def _is_done(state: PartitionState, manifest: str) -> bool:
    """Whether the scores were counted, and somebody was told of what is beyond the bounds."""
    name = str(state.place("truth"))
    if _DONE.get(name) != manifest:
        truth = known_truth(state)
        if truth is not None and (not truth.beyond or mark(state, truth, "told").is_file()):
            _DONE[name] = truth.manifest
    return _DONE.get(name) == manifest


def _there(loaded: Loaded, night: Partition) -> dt.datetime:
    """The end of a partition; of an unpartitioned table the beginning of time."""
    if not loaded.pipeline.input.partition:
        return dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return end_of(loaded.pipeline.input.partition, night.key, loaded.pipeline.schedule.timezone)
