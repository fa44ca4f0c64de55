"""What was stored about a night, without the values of columns that are sensitive now.

A column may become sensitive (``quality.sensitive``) after a night was judged. The records stay as
they were written; what people are shown of them passes through here.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

from nocturne.records.findings import Finding
from nocturne.records.manifest import Judgement
from nocturne.records.quality import Expectation, QualityResult

__all__ = ["judgement_without_values", "text_without_values"]

_NOT_SHOWN = "(not shown: quality.sensitive)"
_VALUES = re.compile(
    r"(?P<said>expectations failed|a key that another row has too|drifted in a segment alone)"
    r"[:,] .*",
    re.DOTALL,
)
"""The parts of a reason that may have values after them."""
_EXTREME = re.compile(r"(?<=: a value is )\S+, (?=above |below )")
"""The values of an expectation that the Parquet footers refuse."""


def judgement_without_values(judgement: Judgement, sensitive: Collection[str]) -> Judgement:
    """A judgement as people may see it; the reasons of expectations are worded anew."""
    if not sensitive:
        return judgement
    expectations = (_expectation(e, sensitive) for e in judgement.quality.expectations)
    quality = replace(judgement.quality, expectations=tuple(expectations))
    findings = (_finding(f, judgement.quality, quality, sensitive) for f in judgement.findings)
    return replace(judgement, quality=quality, findings=tuple(findings))


def text_without_values(text: str, sensitive: Collection[str]) -> str:
    """A stored reason or message, cut before values that may be those of a sensitive column."""
    if not sensitive:
        return text
    values = _VALUES.search(text)
    if values and _names_any(values[0], sensitive):
        text = f"{text[: values.start()]}{values['said']} {_NOT_SHOWN}"
    lines = text.split("\n")
    return "\n".join(_EXTREME.sub("", x) if _names_any(x, sensitive) else x for x in lines)


def _finding(
    finding: Finding, before: QualityResult, quality: QualityResult, sensitive: Collection[str]
) -> Finding:
    if finding.rule != "quality.expectations":
        return replace(finding, reason=text_without_values(finding.reason, sensitive))
    return finding if quality == before else replace(finding, reason=quality.in_words)


def _expectation(expectation: Expectation, sensitive: Collection[str]) -> Expectation:
    if not _names_any(expectation.column or "", sensitive):
        return expectation
    return replace(expectation, observed=_NOT_SHOWN, value=None)


def _names_any(text: str, columns: Collection[str]) -> bool:
    """Whether a text names one of the columns, such as "x, y": an expectation may be over both."""
    return any(re.search(rf"(?<!\w){re.escape(column)}(?!\w)", text) for column in columns)
