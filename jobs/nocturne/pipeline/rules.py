"""The rules that decide the verdict of a night: each is a function that yields findings.

The night's verdict is the worst of its findings. A new rule is one function and its entry in
``RULES``; its name begins with its subject: ``quality``, ``drift`` or ``person``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from nocturne.config import Pipeline
from nocturne.pipeline.faults import model_at_fault
from nocturne.quality.duplicates import Duplicates
from nocturne.records.drift import DriftResult
from nocturne.records.findings import Finding, Verdict
from nocturne.records.quality import QualityResult
from nocturne.records.result import SplitResult
from nocturne.records.volume import Volume

__all__ = ["RULES", "Evidence", "findings_of"]

_SHOWN = 3
"""The most columns or segments that a reason names."""


@dataclass(frozen=True)
class Evidence:
    """What is known about a scored night.

    ``hold``: why a person must look at it, whatever the rules find; "" if nobody must.
    """

    settings: Pipeline
    results: Sequence[SplitResult]
    quality: QualityResult
    duplicates: Duplicates | None
    drift: DriftResult
    volume: Volume
    hold: str = ""

    @property
    def rows_in(self) -> int:
        return sum(result.rows_in for result in self.results)

    @property
    def quarantined(self) -> int:
        return sum(result.quarantined for result in self.results)


RuleFindings = Iterator[tuple[Verdict, str] | tuple[Verdict, str, tuple[str, ...]]]
"""For each finding its verdict, its reason and, optionally, its columns."""


def _expectations(night: Evidence) -> RuleFindings:
    if failed := night.quality.in_words:
        yield Verdict(night.settings.quality.on_failure), failed


def _unique_keys(night: Evidence) -> RuleFindings:
    if night.duplicates is not None:
        duplicates = night.duplicates
        examples = f", such as {'; '.join(duplicates.examples)}" if duplicates.examples else ""
        yield Verdict.HOLD, f"{duplicates.rows} rows have a key that another row has too{examples}"


def _model(night: Evidence) -> RuleFindings:
    if fault := model_at_fault(night.results):
        yield Verdict.FAIL, fault


def _quarantined(night: Evidence) -> RuleFindings:
    if not night.quarantined or model_at_fault(night.results):
        return
    limit = night.settings.quality.max_quarantined
    share = night.quarantined / night.rows_in
    over = share > limit
    yield (
        Verdict.HOLD if over else Verdict.OK,
        f"{night.quarantined} of {night.rows_in} rows ({share:.2%}) are quarantined, "
        f"{'over' if over else 'within'} the limit of {limit:.2%}",
    )


def _volume(night: Evidence) -> RuleFindings:
    volume, verdict = night.volume, night.settings.quality.volume
    if verdict != "off" and volume.alarmed:
        rows = f"{volume.rows:,} row{'' if volume.rows == 1 else 's'}"
        yield Verdict(verdict), f"{rows} came, {volume.in_words}"


def _columns(night: Evidence) -> RuleFindings:
    if alarmed := night.drift.alarmed:
        worst = ", ".join(
            f"{c.column} (PSI {c.psi:.2f}, alarm at {c.threshold:.2f})" for c in alarmed[:_SHOWN]
        )
        verdict = Verdict(night.settings.drift.on_drift) if night.drift.paged else Verdict.WARN
        names = tuple(column.column for column in alarmed)
        columns = "1 column" if len(alarmed) == 1 else f"{len(alarmed)} columns"
        yield verdict, f"{columns} drifted: {worst}", names


def _page(night: Evidence) -> RuleFindings:
    if night.drift.paged and night.drift.alarmed:
        scores = [c.column for c in night.drift.alarmed if c.is_output]
        what = (
            f"{', '.join(scores)} drifted"
            if scores
            else f"{night.drift.share:.0%} of the features drifted, weighted by importance"
        )
        yield Verdict(night.settings.drift.on_drift), f"a person should look: {what}"


def _segments(night: Evidence) -> RuleFindings:
    if only := night.drift.only_in_segments:
        worst = ", ".join(
            f"{c.column} where {s.name} (PSI {c.psi:.2f}, alarm at {c.threshold:.2f})"
            for s, c in only[:_SHOWN]
        )
        more = f" and {len(only) - _SHOWN} more" if len(only) > _SHOWN else ""
        yield Verdict.WARN, f"drifted in a segment alone: {worst}{more}"


def _hold(night: Evidence) -> RuleFindings:
    if night.hold:
        yield Verdict.HOLD, night.hold


RULES: dict[str, Callable[[Evidence], RuleFindings]] = {
    "quality.expectations": _expectations,
    "quality.unique_keys": _unique_keys,
    "quality.model": _model,
    "quality.quarantined": _quarantined,
    "quality.volume": _volume,
    "drift.columns": _columns,
    "drift.page": _page,
    "drift.segments": _segments,
    "person.hold": _hold,
}
"""Name -> rule, in the order in which reasons are shown."""


def findings_of(night: Evidence) -> tuple[Finding, ...]:
    """The findings of every rule."""
    return tuple(Finding(name, *finding) for name, rule in RULES.items() for finding in rule(night))
