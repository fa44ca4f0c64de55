"""What stands against a night, rule by rule, and the verdict that it comes to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "Verdict", "verdict_of"]


class Verdict(StrEnum):
    """What becomes of a night, from the best to the worst.

    ``ok`` and ``warn`` are published; ``hold`` waits for a person; ``fail`` is not published.
    """

    OK = "ok"
    WARN = "warn"
    HOLD = "hold"
    FAIL = "fail"

    @property
    def rank(self) -> int:
        """0 for the best; higher is worse."""
        return list(Verdict).index(self)

    @property
    def publishes(self) -> bool:
        """Whether nobody has to decide before it is published."""
        return self.rank < Verdict.HOLD.rank

    @staticmethod
    def worst(verdicts: Iterable[Verdict]) -> Verdict:
        """The worst one; ``ok`` of none."""
        return max(verdicts, key=lambda verdict: verdict.rank, default=Verdict.OK)


@dataclass(frozen=True)
class Finding:
    """What a rule found.

    Attributes:
        rule: its name, after what it looks at: ``quality.expectations``.
        verdict: what the night is by this finding alone.
        reason: why, for a person.
        columns: those that it is about.
    """

    rule: str
    verdict: Verdict
    reason: str
    columns: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """What the rule looks at: ``quality``, ``drift`` or ``person``."""
        return self.rule.partition(".")[0]


def verdict_of(findings: Iterable[Finding], subject: str = "") -> Verdict:
    """The worst verdict of findings, or of those about one subject."""
    return Verdict.worst(f.verdict for f in findings if subject in ("", f.subject))
