"""Which earlier nights count as ordinary where drift is judged, and how that is remembered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from nocturne import config, drift, publish
from nocturne.config import Loaded
from nocturne.errors import NocturneError, StateError
from nocturne.pipeline.layout import Layout
from nocturne.pipeline.runs import current, published
from nocturne.records import Manifest, Partition, Run
from nocturne.store import state
from nocturne.store.record_files import read, write

__all__ = ["accept", "calm", "distances", "name_of", "named", "ordinary"]


def ordinary(run: Run, loaded: Loaded, earlier: Sequence[Manifest]) -> list[Manifest]:
    """The nights whose drift counts as ordinary for the run's verdict.

    A night that was judged before with this model is judged with the history that its manifest
    names, so that scoring days again, in any order, gives their verdicts again. Any other: with
    the ``earlier`` nights of this model that did not drift, or that a person let pass.
    """
    before = current(run)
    if before is not None and before.model.sha256 == run.model.sha256:
        return [found for name in before.drift_history if (found := named(loaded, name))]
    return [
        night for night in earlier if night.model.sha256 == run.model.sha256 and calm(loaded, night)
    ]


def calm(loaded: Loaded, night: Manifest) -> bool:
    """Whether no column of a night's whole drifted, or a person let it pass."""
    return not any(feature.alarmed for feature in night.drift) or let_pass(loaded, night)


def let_pass(loaded: Loaded, night: Manifest) -> bool:
    """Whether a person approved the night when it was held, or accepted its drift later."""
    if night.restores is not None:  # who rolled back to it said nothing of its drift
        earlier = named(loaded, f"{night.partition.key}:{night.restores}")
        approved = earlier is not None and let_pass(loaded, earlier)
    else:
        approved = night.approved_by is not None
    return approved or _accepted(loaded, night).exists()


def accept(loaded: Loaded, partition: Partition, by: str) -> Manifest:
    """Count the drift of a published night as ordinary from now on.

    Raises:
        StateError: nothing is published there, or it did not drift.
    """
    night = published(loaded, partition)
    if not (night.drift_segments_alarmed or any(feature.alarmed for feature in night.drift)):
        raise StateError(
            f"{loaded.pipeline.name} {partition.key} did not drift: it counts as ordinary already"
        )
    note = {"by": by, "at": state.now(), "manifest": night.id}
    write(_accepted(loaded, night), note)
    return night


def _accepted(loaded: Loaded, night: Manifest) -> Path:
    return Layout.of(loaded).partition_state(night.partition) / "accepted" / f"{night.id}.json"


def name_of(manifest: Manifest) -> str:
    """How a manifest names another: partition and id."""
    return f"{manifest.partition.key}:{manifest.id}"


def named(loaded: Loaded, name: str) -> Manifest | None:
    """The manifest that ``name_of`` named; None if it is gone (nothing of ours removes one)."""
    key, _, id_ = name.rpartition(":")
    partition = config.partition(loaded.pipeline.input.partition, key)
    with suppress(NocturneError):
        return read(Manifest, publish.path_of(Layout.of(loaded).partition_state(partition), id_))
    return None


def distances(loaded: Loaded, nights: Sequence[Manifest]) -> dict[str, list[float]]:
    """Column, or column in a segment -> the PSI of those nights.

    A column that drifted in a segment alone is left out there, unless a person let it pass.
    """
    found = defaultdict(list)
    for night in nights:
        drifted = {} if let_pass(loaded, night) else night.drift_segments_alarmed
        for feature in night.drift:
            found[feature.column].append(feature.psi)
        for segment, columns in night.drift_segments.items():
            for column, psi in columns.items():
                if column not in drifted.get(segment, ()):
                    found[drift.in_segment(segment, column)].append(psi)
    return dict(found)
