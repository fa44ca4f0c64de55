"""The findings of the verdict rules, and the verdict of a night."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "Verdict", "verdict_of"]


class Verdict(StrEnum):
    """The verdict of a night, from the best to the worst.

    ``ok`` and ``warn`` are published; ``hold`` waits for a person; ``fail`` is not published.
    """

    OK = "ok"
    WARN = "warn"
    HOLD = "hold"
    FAIL = "fail"

    @property
    def rank(self) -> int:
        """0 for the best verdict; a higher rank is worse."""
        return list(Verdict).index(self)

    @property
    def publishes(self) -> bool:
        """Whether the night is published without a person's decision."""
        return self.rank < Verdict.HOLD.rank

    @staticmethod
    def worst(verdicts: Iterable[Verdict]) -> Verdict:
        """The worst verdict; ``ok`` if there is none."""
        return max(verdicts, key=lambda verdict: verdict.rank, default=Verdict.OK)


@dataclass(frozen=True)
class Finding:
    """A finding of a rule.

    Attributes:
        rule: the rule's name, which begins with its subject: ``quality.expectations``.
        verdict: the verdict of the night by this finding alone.
        reason: the reason, for a person.
        columns: the columns that it is about.
    """

    rule: str
    verdict: Verdict
    reason: str
    columns: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """The subject of the rule: ``quality``, ``drift`` or ``person``."""
        return self.rule.partition(".")[0]


def verdict_of(findings: Iterable[Finding], subject: str = "") -> Verdict:
    """The worst verdict of findings, or of those about one subject."""
    return Verdict.worst(f.verdict for f in findings if subject in ("", f.subject))
