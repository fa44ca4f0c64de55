"""Which earlier nights count as ordinary where drift is judged, and how that is remembered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress

from nocturne import config, drift, publish
from nocturne.config import Loaded
from nocturne.errors import NocturneError
from nocturne.layout import Layout
from nocturne.pipeline.runs import current
from nocturne.records import Manifest, Run, read

__all__ = ["calm", "distances", "name_of", "ordinary"]


def ordinary(run: Run, loaded: Loaded, earlier: Sequence[Manifest]) -> list[Manifest]:
    """The nights whose drift counts as ordinary for the run's verdict.

    A night that was judged before with this model is judged with the history that its manifest
    names, so that scoring days again, in any order, gives their verdicts again. Any other: with
    the ``earlier`` nights of this model that did not drift, or that a person let pass.
    """
    before = current(run)
    if before is not None and before.model.sha256 == run.model.sha256:
        return [found for name in before.drift_history if (found := _named(loaded, name))]
    return [night for night in earlier if night.model.sha256 == run.model.sha256 and calm(night)]


def calm(night: Manifest) -> bool:
    """Whether no column of a night's whole drifted, or a person let it pass."""
    return not any(f.alarmed for f in night.drift) or night.approved_by is not None


def name_of(manifest: Manifest) -> str:
    """How a manifest names another: partition and id."""
    return f"{manifest.partition.key}:{manifest.id}"


def _named(loaded: Loaded, name: str) -> Manifest | None:
    """None if the manifest is gone; nothing of ours removes one."""
    key, _, id_ = name.rpartition(":")
    partition = config.partition(loaded.pipeline.input.partition, key)
    with suppress(NocturneError):
        return read(Manifest, publish.path_of(Layout.of(loaded).partition_state(partition), id_))
    return None


def distances(nights: Sequence[Manifest]) -> dict[str, list[float]]:
    """Column, or column in a segment -> the PSI of those nights."""
    found = defaultdict(list)
    for night in nights:
        for feature in night.drift:
            found[feature.column].append(feature.psi)
        for segment, columns in night.drift_segments.items():
            for column, psi in columns.items():
                found[drift.in_segment(segment, column)].append(psi)
    return dict(found)
