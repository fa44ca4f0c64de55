"""What a partition's last run is doing, as `status` tells it."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest

from nocturne.errors import Held, InputError, StateError
from nocturne.pipeline.layout import Layout
from nocturne.records import STATE_FORMAT, Manifest, Run, dump, load
from nocturne.store import state
from nocturne.store.record_files import read, write

CURRENT = state.Current("running", "score", "k", "/run", 1, 100, 5, "", "")


def test_a_run_that_fell_silent_is_failed(tmp_path: Path) -> None:
    running = replace(CURRENT, at=state.now())
    state.touch(tmp_path, running)
    assert state.recall(tmp_path) == running
    long_ago = (dt.datetime.now(dt.UTC) - state.SILENCE * 2).isoformat()
    state.touch(tmp_path, replace(CURRENT, at=long_ago))
    found = state.recall(tmp_path)
    assert found is not None
    assert found.state == "failed"
    assert "no sign of life since" in found.message


@pytest.mark.parametrize(
    ("error", "said"),
    [(Held("why"), "held"), (InputError("bad"), "failed"), (ZeroDivisionError("0"), "failed")],
)
def test_a_step_that_raises_leaves_its_reason(tmp_path: Path, error: Exception, said: str) -> None:
    with pytest.raises(type(error)), state.step("judge", str(tmp_path), "k", "/run", 1, 9):
        raise error
    found = state.recall(tmp_path)
    assert found is not None
    assert (found.state, found.step) == (said, "judge")
    assert str(error) in found.message
    state.clear(tmp_path, "another")
    assert state.recall(tmp_path) is not None
    state.clear(tmp_path, "k")
    assert state.recall(tmp_path) is None


def test_state_of_another_format_is_refused(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "in", tmp_path / "out", tmp_path / "_nocturne" / "out")
    layout.prepare()
    layout.prepare()
    (layout.state / "format.json").write_text('{"format": 999}')
    with pytest.raises(StateError, match=f"says format 999, this version reads {STATE_FORMAT}"):
        layout.prepare()


def test_a_record_of_another_shape_names_the_field(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="is not a Run of state format"):
        load(Run, '{"format": 1}')
    path = tmp_path / "m.json"
    path.write_text("{}")
    with pytest.raises(StateError, match=r"m\.json is not a Manifest"):
        read(Manifest, path)


def test_the_first_exclusive_writer_wins(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "r.json"
    assert write(path, {"a": 1}, exclusive=True) is True
    assert write(path, {"a": 2}, exclusive=True) is False
    assert path.read_text() == dump({"a": 1})
    assert [p.name for p in path.parent.iterdir()] == ["r.json"], "no temporary file is left"
