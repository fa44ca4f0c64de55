"""What became of arms: models that score a share of the champion's keys in its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from nocturne.codec import Stored
from nocturne.records.comparison import Comparison
from nocturne.records.texts import Time

__all__ = ["ArmResult", "Out", "Served", "ServedArm", "Stopped"]


Out = Literal["", "left out", "stopped", "failed", "suspected"]


@dataclass(frozen=True)
class ArmResult:
    """An arm's part of a split.

    Attributes:
        rows: that have its score and its version.
        failed: why rows of its share have the champion's -> rows.
        comparison: of its predictions with the champion's for the same rows; None if there is no
            number to compare.
    """

    rows: int
    failed: dict[str, int]
    comparison: Comparison | None = None


@dataclass(frozen=True)
class ServedArm:
    """An arm's part of a night: its model, its share of the keys in percent, and its rows.

    ``failed``: rows of its share that have the champion's score, since it has none for them.
    ``difference``: the mean absolute difference of its predictions from the champion's for the same
    rows; None if there is none.
    """

    name: str
    model: str
    version: int
    sha256: str
    percent: float
    rows: int = 0
    failed: int = 0
    difference: float | None = None


@dataclass(frozen=True)
class Served(Stored):
    """How the keys of a night were shared between models; in its manifest and in ``arms.json``.

    Attributes:
        name: "canary", or that of the split.
        key, salt: what the hash is of (``nocturne.columns.shares``).
        own_key: the key of the night's splits without arms, by which challengers know it.
        out: how they came to be out of the night: "left out" if they could not be prepared,
            "stopped" after an earlier night, "failed" in this one; "suspected" after the death of a
            process, which may have another cause. "" if they are in it.
        dropped: the reason in words.
        stops: why they are out of the nights that are planned after it; "" if they are not.
    """

    name: str
    key: tuple[str, ...]
    salt: str
    arms: tuple[ServedArm, ...]
    own_key: str
    out: Out = ""
    dropped: str = ""
    stops: str = ""

    @property
    def news(self) -> str:
        """What a person should know of; "" if all goes on as it was."""
        stops = f"it scores no more nights: {self.stops}" if self.stops else ""
        out = f"{self.out}: {self.dropped}" if self.out not in ("", "stopped") else ""
        return stops or out

    @property
    def told(self) -> str:
        """The arms in words, or why they are out."""
        if self.out:
            return f"{self.out}: {self.dropped}"
        return ", ".join(f"{a.name} (version {a.version}, {a.percent:g} %)" for a in self.arms)

    @property
    def in_it(self) -> tuple[ServedArm, ...]:
        """Those whose scores the night has."""
        return () if self.out else self.arms

    @property
    def models(self) -> tuple[str, ...]:
        """The hashes of the arms' models."""
        return tuple(arm.sha256 for arm in self.arms)


@dataclass(frozen=True)
class Stopped(Stored):
    """``stopped/<name>.json`` of a pipeline: no more keys are scored by these models, and why.

    ``models``: their hashes, of which one is enough; without any it is every model.
    """

    mend: ClassVar[str] = "Move it away: then the canary scores the next nights again"

    models: tuple[str, ...]
    why: str
    at: Time
    by: str
