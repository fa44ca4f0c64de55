"""Expectations are followed over nights by what they expect."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from nocturne.operate.over_nights import expectations_over_nights
from nocturne.records.quality import Expectation


def _lines(*nights: str) -> list[str]:
    """Each line as what was observed in each night; a night is "observed:detail observed:detail".

    The expectations are of one type, on one column of one suite.
    """
    judged: list[Any] = []
    for night in nights:
        expectations = [
            Expectation("s", "t", "y", success=True, observed=observed, detail=detail)
            for observed, _, detail in (text.partition(":") for text in night.split())
        ]
        quality = SimpleNamespace(expectations=expectations)
        judged.append(SimpleNamespace(judgement=SimpleNamespace(quality=quality)))
    found = expectations_over_nights(judged)
    return ["".join(r.observed if r else "-" for r in line.results) for line in found]


@pytest.mark.parametrize(
    ("nights", "lines"),
    [
        pytest.param(("a:1 b:2", "a:1 b:2"), ["aa", "bb"], id="unchanged"),
        pytest.param(("a:1 b:2", "b:2", "b:2"), ["a--", "bbb"], id="the first is removed"),
        pytest.param(("a:1", "b:2 a:1"), ["aa", "-b"], id="one is put before"),
        pytest.param(("a:1 b:2", "b:2 a:1"), ["aa", "bb"], id="in another order"),
        pytest.param(("a:1 b:2", "a:9 b:2"), ["aa", "bb"], id="an argument is changed"),
        pytest.param(("a:1 b:2", "b:2", "b:9"), ["a--", "bbb"], id="removed, then changed"),
        pytest.param(("a:1 b:2", "c:3"), ["a-", "b-", "-c"], id="which was changed is not clear"),
        pytest.param(("a:1 b:2", "a:x b:y", "a:1 b:2"), ["aaa", "bbb"], id="both are changed"),
        pytest.param(("a:1 b:1", "a:1 b:1"), ["aa", "bb"], id="alike"),
        pytest.param(("a:1", "", "a:1"), ["a-a"], id="not checked between"),
    ],
)
def test_expectations_of_one_type_on_one_column_are_told_apart(
    nights: tuple[str, ...], lines: list[str]
) -> None:
    assert _lines(*nights) == lines
