"""The history that alarms are calibrated with: earlier nights whose drift counts as ordinary."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Protocol

from nocturne.drift.judge import in_segment
from nocturne.records.manifest import Manifest, PublishedNight

__all__ = ["Nights", "calibration_history", "distances", "is_approved", "is_ordinary", "name_of"]


class Nights(Protocol):
    """The published nights of a pipeline."""

    def by_name(self, name: str) -> PublishedNight | None:
        """The night with a name from ``name_of``; None if it is gone."""

    def is_accepted(self, manifest: Manifest) -> bool:
        """Whether a person has accepted the drift of a published night."""


def calibration_history(
    nights: Nights,
    earlier: Iterable[PublishedNight],
    in_force: PublishedNight | None,
    model_sha256: str,
) -> list[PublishedNight]:
    """The nights whose drift counts as ordinary for a verdict.

    A night that was judged before with this model is judged with the history that its judgement
    names, so that scoring days again, in any order, gives the same verdicts. Any other night is
    judged with the ``earlier`` nights of this model that did not drift, or whose drift a person
    approved.

    Args:
        in_force: the published night of the partition that is judged.
    """
    if in_force is not None and in_force.manifest.model.sha256 == model_sha256:
        names = in_force.judgement.drift.history
        return [night for name in names if (night := nights.by_name(name))]
    return [
        night
        for night in earlier
        if night.manifest.model.sha256 == model_sha256 and is_ordinary(nights, night.manifest)
    ]


def is_ordinary(nights: Nights, manifest: Manifest) -> bool:
    """Whether no column of the whole night drifted, or a person approved its drift."""
    return not manifest.drifted or is_approved(nights, manifest)


def is_approved(nights: Nights, manifest: Manifest) -> bool:
    """Whether a person approved the night when it was held, or accepted its drift later."""
    if manifest.restores is not None:  # a rollback says nothing about the drift
        restored = nights.by_name(f"{manifest.partition.key}:{manifest.restores}")
        approved = restored is not None and is_approved(nights, restored.manifest)
    else:
        approved = manifest.approved_by is not None
    return approved or nights.is_accepted(manifest)


def name_of(night: PublishedNight) -> str:
    """How a judgement names another night: partition and manifest id."""
    return f"{night.key}:{night.manifest.id}"


def distances(nights: Nights, history: Sequence[PublishedNight]) -> dict[str, list[float]]:
    """Column, or column in a segment (``in_segment``) -> the PSI of those nights.

    A column that drifted in a segment alone is left out there, unless a person approved it.
    """
    psi = defaultdict(list)
    for night in history:
        approved, drift = is_approved(nights, night.manifest), night.judgement.drift
        for feature in drift.columns:
            psi[feature.column].append(feature.psi)
        for segment in drift.segments:
            for feature in segment.columns:
                if approved or not feature.alarmed:
                    psi[in_segment(segment.name, feature.column)].append(feature.psi)
    return dict(psi)
