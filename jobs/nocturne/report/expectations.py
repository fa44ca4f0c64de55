"""The page of a night's expectations, its Data Docs: one file, without scripts."""

from __future__ import annotations

from nocturne.records.manifest import Judgement
from nocturne.records.plan import RunPlan
from nocturne.report.overview import anchored, quality_line
from nocturne.report.page import rendered

__all__ = ["expectations_html"]

_SIDES = {"input": "On the input", "output": "On the scores"}


def expectations_html(plan: RunPlan, judgement: Judgement) -> str:
    """Every expectation of both suites, as the text of an HTML file; those that failed come first.

    The n-th expectation of the judgement has the anchor ``expectation-n``.
    """
    expectations = anchored(judgement)
    return rendered(
        "expectations.html",
        plan=plan,
        judgement=judgement,
        quality_line=quality_line(judgement),
        failed=[(anchor, e) for anchor, e in expectations if not e.success],
        sides={
            _SIDES.get(side, side): sorted(
                [(anchor, e) for anchor, e in expectations if e.suite == side],
                key=lambda item: item[1].success,
            )
            for side in dict.fromkeys(e.suite for _, e in expectations)
        },
    )
