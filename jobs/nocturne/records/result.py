"""The result of a split."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import ClassVar

from nocturne.codec import Stored
from nocturne.records.arms import ArmResult
from nocturne.records.comparison import Comparison
from nocturne.records.profile import Profile
from nocturne.records.quality import Measured

__all__ = ["RAISED", "Scored", "SplitResult", "strange", "strange_output"]

RAISED = "the model raised "
"""The start of the reason of a row on which the model raised."""


_STRANGE = re.compile(
    r"the prediction (?P<output>.*) is no (?P<type>\w+(?:\[[a-z][\w, ]*\])?)(?P<length>\[\d+\])?",
    re.DOTALL,
)


def strange(output: str, type_: str) -> str:
    """The reason of a row whose prediction has not the type or the length of its column."""
    return f"the prediction {output} is no {type_}"


def strange_output(reason: str) -> tuple[str, str, str] | None:
    """Output, type and length (``[3]``, or "") of a reason that ``strange`` made, else None."""
    match = _STRANGE.fullmatch(reason)
    return (match["output"], match["type"], match["length"] or "") if match else None


@dataclass(frozen=True)
class SplitResult(Stored):
    """The result of one split. Its file is created once, which decides which attempt counts.

    ``started`` and ``finished`` are seconds since 1970; they are equal if the split was reused.
    ``micro_batch`` is the pinned one, unless the device's memory ran out. ``precision_error``:
    output -> the largest difference to float32 in the first batch; only for the first split, and
    empty for float32. ``measured``: table -> key of a measure -> measured values. ``unscored``: of
    a challenger, why published rows have no score -> rows; ``comparison``: of its scores with the
    champion's, if it was scored in the same pass. ``arms``: by name, what they scored of it.
    """

    ON_ONE_LINE: ClassVar[bool] = True

    mend: ClassVar[str] = "Run the partition again: it scores the split again"

    key: str
    index: int
    file: str
    rows_in: int
    rows_out: int
    sha256: str
    size: int
    quarantined: int
    quarantine_file: str | None
    reasons: dict[str, int]
    started: float
    finished: float
    profile: Profile
    micro_batch: int = 0
    precision_error: dict[str, float] = field(default_factory=dict)
    measured: dict[str, dict[str, Measured]] = field(default_factory=dict)
    unscored: dict[str, int] = field(default_factory=dict)
    comparison: Comparison | None = None
    arms: dict[str, ArmResult] = field(default_factory=dict)

    @property
    def by_model(self) -> dict[str, int]:
        """The reasons for which the model may be at fault: it raised, or returned another type."""
        return {
            why: rows
            for why, rows in self.reasons.items()
            if why.startswith(RAISED) or strange_output(why) is not None
        }


@dataclass(frozen=True)
class Scored(Stored):
    """The number of results of a run with a query, and which execution of it they are of.

    Its file is created once, which decides between two drivers.
    """

    VERSION: ClassVar[int] = 2
    UPGRADES: ClassVar = {1: dict}
    mend: ClassVar[str] = "Move it away and score the run again"

    results: int
    execution: str = ""
