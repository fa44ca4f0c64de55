"""How many rows a night has against earlier nights, and when its input arrived."""

from __future__ import annotations

from dataclasses import dataclass, field

from nocturne.records.texts import Time

__all__ = ["Volume"]


@dataclass(frozen=True)
class Volume:
    """The rows of a night, and what is ordinary for it.

    Attributes:
        rows: the rows of the input.
        median: the median of the nights that it is compared with.
        low, high: the fewest and the most rows that are ordinary.
        reference: describes the nights that it is compared with; "" if there are too few of them.
        history: the earlier nights whose rows count as ordinary (partition:manifest) -> their rows.
        accepted: those of them that alarmed and that a person approved: the range includes them.
        note: why it is not compared.
        arrived: when the newest file of the input was written, in the pipeline's time zone; None if
            that is not known.
        seconds_after: from the end of the partition to ``arrived``; negative if it was not over.
    """

    rows: int
    median: float = 0.0
    low: int = 0
    high: int = 0
    reference: str = ""
    history: dict[str, int] = field(default_factory=dict)
    accepted: tuple[str, ...] = ()
    note: str = ""
    arrived: Time | None = None
    seconds_after: int | None = None

    @property
    def alarmed(self) -> bool:
        """Whether there are fewer or more rows than is ordinary."""
        return bool(self.reference) and not self.low <= self.rows <= self.high

    @property
    def in_words(self) -> str:
        """How the rows compare: "61% fewer than the median 5,412 of the last 8 Sundays; ..."."""
        if not self.reference:
            return self.note
        return (
            f"{self._difference} the median {self.median:,.0f} of {self.reference}; ordinary are "
            f"{self.low:,} to {self.high:,}"
        )

    @property
    def _difference(self) -> str:
        if not self.median:
            return "more than" if self.rows else "as many as"
        ratio = self.rows / self.median
        if ratio >= 2:
            return f"{ratio:,.1f} times"
        if abs(ratio - 1) < 0.005:
            return "about as many as"
        if 0 < ratio < 0.005:
            return "over 99% fewer than"
        return f"{abs(ratio - 1):.0%} {'more' if ratio > 1 else 'fewer'} than"
