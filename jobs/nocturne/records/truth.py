"""How a night's scores compare with the labels that came for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from nocturne.codec import Stored
from nocturne.records.texts import ManifestId, Time

__all__ = ["Truth", "TruthPart"]


@dataclass(frozen=True)
class TruthPart:
    """Some rows: all of the night, or those of a model version.

    ``figures``: as ``nocturne.truth`` names them. ``bins``: of the reliability diagram, the rows,
    the mean score and the share of positives.
    """

    figures: dict[str, float]
    bins: tuple[tuple[int, float, float], ...] = ()


@dataclass(frozen=True)
class Truth(Stored):
    """A version of a night's truth: corrected labels, or other scores, make another one.

    Attributes:
        number: counts the versions, from 1.
        manifest: the scores.
        labels: the digest of the label files.
        kind: whether the labels are of two classes or numbers.
        output: the column of the scores.
        unlabelled: scored rows without a label: with no such key, or a null.
        unscored: labels without a scored row.
        parts: "all", and "version 7" for each version that scored rows.
    """

    mend: ClassVar[str] = "Move it away: the truth is counted anew"

    number: int
    at: Time
    manifest: ManifestId
    labels: str
    kind: Literal["classes", "numbers"]
    output: str
    rows: int
    unlabelled: int
    unscored: int
    parts: dict[str, TruthPart] = field(default_factory=dict)
