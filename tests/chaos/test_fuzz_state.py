"""Whatever lies in the state: each command ends cleanly, and what is published stays."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.damage import HELD, ONCE, TWICE, Nights, damage
from chaos.fuzz import clean, examples, odd_dates, odd_text
from pipeline.conftest import DAYS

pytestmark = pytest.mark.usefixtures("at_home")


def commands(nights: Nights) -> list[list[str]]:
    """Every command that reads state and starts no Spark."""
    runs = sorted(nights.state.glob("ds=*/runs/*"))
    of_days = [
        [name, "p", "--date", day, *more]
        for day in (TWICE, HELD, ONCE)
        for name, more in (
            ("verify", []),
            ("rollback", []),
            ("rollback", ["--to", "1"]),
            ("approve", []),
            ("reject", []),
            ("accept", []),
        )
    ]
    of_runs = [
        [*steps, str(run)]
        for run in runs
        for steps in (["gate"], ["gate", "--approve"], ["publish"])
    ]
    return [
        ["status", "p"],
        ["status", "p", "--json"],
        ["gc", "p", "--older-than", "0"],
        ["gc", "p", "--older-than", "0", "--yes"],
        ["report", "p", "--from", TWICE, "--to", ONCE, "--out", str(nights.root / "report.html")],
        ["baseline", "p", "--from", TWICE, "--to", ONCE],
        *of_days,
        *of_runs,
    ]


@given(st.data())
@examples(8)
def test_a_damaged_file_of_the_state(nights: Nights, data: st.DataObject) -> None:
    nights.put_back()
    damaged = data.draw(st.sampled_from(nights.files))
    command = data.draw(st.sampled_from(commands(nights)))
    data.draw(st.composite(lambda draw: damage(draw, nights.state / damaged))())
    changes = command[0] in ("rollback", "approve", "publish")
    clean(*command)
    if not changes:
        assert nights.scores() == nights.published
    code, out, _ = clean("status", "p", "--json")
    assert code == 0, "one damaged file does not stop status"
    assert [night["partition"] for night in json.loads(out)] == list(DAYS)


@given(odd_dates, odd_dates, odd_text)
@examples(2)
def test_odd_arguments(nights: Nights, first: str, last: str, text: str) -> None:
    nights.put_back()
    for command in (
        ["status", "p", "--from", first, "--to", last],
        ["verify", "p", "--date", first],
        ["rollback", "p", "--date", TWICE, "--to", text or "0"],
        ["approve", "p", "--date", first, "--by", text],
        ["gate", text],
        ["status", text],
        ["ready", "p", "--date", first],
        ["prepare", "p", "--date", first, "--dry-run", "--caller", text],
        ["report", "p", "--from", first, "--to", last],
        ["baseline", "p", "--from", first, "--to", last],
    ):
        if "\0" not in "".join(command):  # no argument can hold one
            clean(*command)
    assert nights.scores() == nights.published
