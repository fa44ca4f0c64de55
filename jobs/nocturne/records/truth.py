"""How a night's scores compare with the labels that came for it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from nocturne.codec import Stored
from nocturne.records.texts import ManifestId, Time

__all__ = [
    "BETTER",
    "Against",
    "Better",
    "Difference",
    "Truth",
    "TruthArm",
    "TruthPart",
    "part_order",
    "told",
]

Better = Literal["more", "less"]

BETTER: dict[str, Better] = {
    "auc": "more",
    "average_precision": "more",
    "brier": "less",
    "log_loss": "less",
    "calibration_error": "less",
    "precision": "more",
    "recall": "more",
    "f1": "more",
    "accuracy": "more",
    "macro_f1": "more",
    "mae": "less",
    "rmse": "less",
    "pinball": "less",
    "r2": "more",
}
"""Figures in which models can be compared, and whether more or less of each is better."""

RESERVED = re.compile(r"rows|positive|bias|.*_(low|high|error)")
"""Names of figures that are ours besides."""


@dataclass(frozen=True)
class TruthPart:
    """Some rows: all of the night, those of a model version, or those of a segment.

    ``figures``: as ``nocturne.truth`` names them, with those of ``labels.metrics``. ``bins``: of
    the reliability diagram, the rows, the mean score and the share of positives.
    """

    figures: dict[str, float]
    bins: tuple[tuple[int, float, float], ...] = ()


@dataclass(frozen=True)
class Difference:
    """The challenger's figure less the champion's; the 95% interval if it is defined."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def told(self) -> str:
        """It in words, with its interval if there is one."""
        sure = "" if self.low is None else f" ({self.low:+.4g} to {self.high:+.4g})"
        return f"{self.value:+.4g}{sure}"


@dataclass(frozen=True)
class Against:
    """A challenger and the champion on the same rows: those with a label and both scores.

    Rows that a canary or a split scored are not among them: their published scores are not the
    champion's.

    Attributes:
        model, version: the challenger's.
        manifest: its scores.
        champion, challenger: the figures of each.
        differences: figure -> how they differ.
        segments: "origin=EWR" -> the same, without intervals.
    """

    model: str
    version: int
    manifest: ManifestId
    rows: int
    champion: dict[str, float]
    challenger: dict[str, float]
    differences: dict[str, Difference]
    segments: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class TruthArm:
    """The model of an arm of a canary or split."""

    model: str
    version: int


def _truth_1(fields: dict[str, Any]) -> dict[str, Any]:
    """Neither challengers nor arms were counted, and no estimate was kept."""
    return fields | {"model": "", "model_version": 0}


def _truth_2(fields: dict[str, Any]) -> dict[str, Any]:
    """An arm of another registered model was taken for a version of the champion's."""
    arms = fields.get("arms", {}).items()
    of = {name: {"model": fields["model"], "version": version} for name, version in arms}
    return fields | {"arms": of}


@dataclass(frozen=True)
class Truth(Stored):
    """A version of a night's truth: corrected labels, or other scores, make another one.

    Attributes:
        number: counts the versions, from 1.
        manifest: the scores.
        labels: the digest of the label files.
        asked: the digest of what was asked of them, and of which challengers; "" if an earlier
            Nocturne wrote it.
        kind: whether the labels are of two classes, of several, or numbers.
        output: the column of the scores.
        model, model_version: the champion of the night; "", 0 if an earlier Nocturne wrote it.
        unlabelled: scored rows without a label: with no such key, or a null.
        unscored: labels without a scored row.
        matched: labels with one, nulls too; 0 if an earlier Nocturne wrote it.
        parts: "all", "version 7" for each version that scored rows ("version 7 of MODEL" if it is
            of another registered model than the champion's), "origin=EWR" for segments.
        arms: arm of a canary or split -> the model that scored its rows.
        against: challenger -> how it compares.
        left_out: challenger that scored the night -> why it is not compared.
        estimate: what was expected before there were labels (``nocturne.truth.estimate``).
        beyond: what lay beyond ``labels.bounds`` when it was counted, in words.
    """

    VERSION: ClassVar[int] = 3
    UPGRADES: ClassVar = {1: _truth_1, 2: _truth_2}
    mend: ClassVar[str] = "Move it away: the truth is counted anew"

    number: int
    at: Time
    manifest: ManifestId
    labels: str
    kind: Literal["classes", "numbers", "multiclass"]
    output: str
    model: str
    model_version: int
    rows: int
    unlabelled: int
    unscored: int
    parts: dict[str, TruthPart] = field(default_factory=dict)
    arms: dict[str, TruthArm] = field(default_factory=dict)
    against: dict[str, Against] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    asked: str = ""
    estimate: dict[str, float] = field(default_factory=dict)
    beyond: tuple[str, ...] = ()
    matched: int = 0

    def part_of(self, model: str, version: int) -> str:
        """The name of the part with the rows that a model has scored."""
        return f"version {version}" if model == self.model else f"version {version} of {model}"

    @property
    def arm_parts(self) -> dict[str, str]:
        """Arm -> the part with its rows. No two arms of a night have one version."""
        return {name: self.part_of(arm.model, arm.version) for name, arm in self.arms.items()}

    @property
    def in_order(self) -> dict[str, TruthPart]:
        """The parts: all rows, versions, segments."""
        return {part: self.parts[part] for part in sorted(self.parts, key=part_order)}


def told(part: str, truths: Iterable[Truth]) -> str:
    """The name of a part over nights, with the arms that it was."""
    arms = {name for truth in truths for name, of in truth.arm_parts.items() if of == part}
    return f"{part} ({', '.join(sorted(arms))})" if arms else part


def part_order(part: str) -> tuple[bool, bool, str]:
    """Sorts the names of parts: all rows, versions, segments."""
    return part != "all", "=" in part, part
