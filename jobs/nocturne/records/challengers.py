"""The challengers of a champion's run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from nocturne.codec import Stored
from nocturne.records.texts import Time

__all__ = ["Challenged", "Dropped", "Opponent"]


@dataclass(frozen=True)
class Opponent:
    """A challenger that is scored beside a run: its name and its own run's directory.

    ``budget``, ``threshold``, ``top``: as in ``challengers:`` of the YAML.
    """

    name: str
    run_dir: str
    budget: float
    threshold: float | None = None
    top: int = 100


@dataclass(frozen=True)
class Challenged(Stored):
    """``challengers.json`` of a champion's run: those that are scored beside it.

    ``left_out``: the names of the others, each with the reason.
    """

    mend: ClassVar[str] = "Prepare the partition again"

    challengers: tuple[Opponent, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Shown:
    """A challenger in the champion's report.

    Attributes:
        version: None if it was left out.
        note: why it was dropped or left out; "" if it was scored.
        parts: the names of the columns: all rows, then the segments.
        figures: in words, with a value for each part.
        farthest: the rows that differ most: keys, the champion's score, the challenger's.
    """

    name: str
    version: int | None
    note: str = ""
    parts: tuple[str, ...] = ()
    figures: tuple[tuple[str, tuple[float | int | None, ...]], ...] = ()
    farthest: tuple[tuple[str, float, float], ...] = ()


@dataclass(frozen=True)
class Dropped(Stored):
    """``dropped.json`` of a run, of a challenger or with arms: no split of it is scored any more.

    ``died``: whether it is suspected since a process died, and not known to be the cause. Without a
    ``why`` the run is whole, and can't be dropped any more: the file is created once.
    """

    mend: ClassVar[str] = "Remove it, and the challenger is scored again"

    why: str
    at: Time
    died: bool = False
