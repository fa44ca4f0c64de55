"""`nocturne status` as a person reads it in a terminal of 80 columns."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from nocturne.cli import tables
from nocturne.cli.tables import pipelines_table, status_table
from nocturne.records.answers import PartitionAnswer, PipelineAnswer

NIGHT = PartitionAnswer(
    partition="2013-04-01",
    state="published",
    model_version=12,
    rows_in=900_000,
    rows_published=899_990,
    rows_quarantined=10,
    rows_per_second=720,
    verdict="ok",
    drift_verdict="ok",
    reasons=[],
    input="in",
    output="out",
    manifest="m",
    report="r",
    step=None,
    rows_done=None,
    message="",
)
MISSING = replace(
    NIGHT, state="missing", verdict=None, rows_in=None, rows_quarantined=None, model_version=None
)
WHY = "held, nothing was published: 10 of 900 rows (1.1%) are quarantined, over the limit of 1.00%"


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns."""

    class Terminal(tables.Console):
        def __init__(self, **_: Any) -> None:
            super().__init__(width=80, force_terminal=True, no_color=True, highlight=False)

    monkeypatch.setattr(tables, "Console", Terminal)


def shown(capsys: pytest.CaptureFixture[str]) -> tuple[str, list[str]]:
    lines = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= 80
    return " ".join(" ".join(lines).split()), lines


def test_the_reason_of_each_night_is_read_in_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    held = replace(NIGHT, partition="2013-04-02", state="held", message=WHY, rows_in=None)
    warned = replace(NIGHT, partition="2013-04-03", verdict="warn", reasons=["2 columns drifted"])
    status_table("flight_delay", [NIGHT, held, warned])
    _, lines = shown(capsys)
    rows = {line.split()[0]: line for line in lines if line.strip()[:4] == "2013"}
    assert rows["2013-04-01"].split() == ["2013-04-01", "published", "12", "900,000", "10"]
    assert rows["2013-04-03"].split()[:2] == ["2013-04-03", "warned"]
    start = next(line.index("why") for line in lines if line.split()[:1] == ["partition"])
    why = " ".join(" ".join(line[start:].split()) for line in lines[3:])
    assert WHY in why
    assert "2 columns drifted" in why


def test_many_that_are_not_scored_are_named_by_their_spans(
    capsys: pytest.CaptureFixture[str],
) -> None:
    days = [f"2013-04-{day:02d}" for day in range(1, 31)]
    rows = [replace(NIGHT if day == "2013-04-10" else MISSING, partition=day) for day in days]
    status_table("flight_delay", rows)
    text, _ = shown(capsys)
    assert (
        "and 29 partitions not scored yet: 2013-04-01 to 2013-04-09, 2013-04-11 to 2013-04-30"
        in text
    )


def test_every_pipeline_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    held = replace(NIGHT, state="held", message=WHY)
    pipelines_table(
        [
            PipelineAnswer("flight_delay", held, {"held": 3, "published": 30}, 7, ""),
            PipelineAnswer("new", None, {}, 365, ""),
            PipelineAnswer("wrong", None, {}, 0, "conf/pipelines/wrong.yaml: model is missing"),
        ]
    )
    text, lines = shown(capsys)
    first = next(line for line in lines if "flight_delay" in line)
    assert first.split()[:5] == ["flight_delay", "2013-04-01", "held", "3", "7"]
    assert next(line for line in lines if " new" in line).split() == ["new", "missing", "365"]
    assert "broken" in text
    assert "model is missing" in text
