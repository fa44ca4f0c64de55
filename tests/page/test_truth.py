"""The page with the truth of nights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nocturne.operate.truth.nights import truths_of
from page.reading import page_of
from pipeline.conftest import DAYS
from pipeline.test_arms import register
from pipeline.test_challengers import Project, night
from pipeline.test_truth import labels, write_labels
from pipeline.test_truth_due import like_scores, nights_of, with_days, with_sections


def test_figures_estimates_challengers_and_promotions(project: Project, client: Any) -> None:
    loaded = with_days(project, labels__segments=["word"], labels__bounds={"auc": {"min": 0.99}})
    register(loaded)
    promote = {"when": {"metric": "auc", "nights": 2}}
    loaded = with_sections(loaded, challengers=[{"alias": "challenger"}], promote=promote)
    for day in DAYS[:2]:
        night(loaded, day)
    write_labels(loaded, like_scores("p@challenger", DAYS[0]), DAYS[0])
    truths_of(loaded, nights_of(loaded, DAYS[:1]))
    loaded = with_sections(loaded, model={"name": "small", "version": 2}, promote=None)
    night(loaded, DAYS[2])
    page = client.get("/p/truth?figure=auc")
    assert page.status_code == 200
    for text in (
        "challenger less champion, on the same rows",
        "word=a",
        "Reliability in 2024-01-01",
        "auc is 0.",
        "2024-01-03: version 2 took over from version 1",
        "no labels of version 2 came yet",
        'title="expected: no labels yet"',
    ):
        assert text in page.text, text
    assert "truth over nights" in client.get("/p").text
    assert "took over from version 1" in client.get("/p/columns?name=score").text


def test_a_pipeline_without_labels_says_where_to_name_them(project: Project, client: Any) -> None:
    project()
    assert "p has no labels" in page_of(client, "/p/truth").text


@pytest.mark.parametrize(
    ("query", "code"),
    [("figure=<script>alert(1)</script>", 200), ("until=never", 400), ("nights=x", 422)],
)
def test_what_is_asked_for_is_not_trusted(
    project: Project, client: Any, query: str, code: int
) -> None:
    loaded = with_days(project)
    night(loaded)
    late = np.arange(600) % 3 == 0
    write_labels(loaded, labels(range(600), late))
    truths_of(loaded, nights_of(loaded, DAYS[:1]))
    answer = client.get(f"/p/truth?{query}")
    assert answer.status_code == code
    assert "<script>alert" not in answer.text
