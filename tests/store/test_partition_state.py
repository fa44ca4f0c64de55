"""The state of a partition: what its last run does, and what its manifests say."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import MakeRun
from nocturne.codec import STATE_FORMAT
from nocturne.errors import ConfigError, Held, InputError, StateError, WrittenByNewer
from nocturne.records.partition import Partition
from nocturne.records.status import RunStatus
from nocturne.store.format import claim
from nocturne.store.partition_state import SILENCE, PartitionState, now
from nocturne.store.pipeline_state import PipelineState

RUNNING = RunStatus("running", "score", "k", 1, 100, 5, "", "")


@pytest.fixture
def state(tmp_path: Path) -> PartitionState:
    return PartitionState(tmp_path, Partition("2024-01-01", (("ds", "2024-01-01"),)))


def test_a_run_that_fell_silent_is_failed(state: PartitionState) -> None:
    running = replace(RUNNING, at=now())
    state.write_status(running)
    assert state.status() == running
    long_ago = (dt.datetime.now(dt.UTC) - SILENCE * 2).isoformat()
    state.write_status(replace(RUNNING, at=long_ago))
    found = state.status()
    assert found is not None
    assert found.state == "failed"
    assert "no sign of life since" in found.message


@pytest.mark.parametrize(
    ("error", "said"),
    [(Held("why"), "held"), (InputError("bad"), "failed"), (ZeroDivisionError("0"), "failed")],
)
def test_a_step_that_raises_leaves_its_reason(
    make_run: MakeRun, error: Exception, said: str
) -> None:
    run = make_run()
    with pytest.raises(type(error)), run.step("judge"):
        raise error
    found = run.state.status()
    assert found is not None
    assert (found.state, found.step) == (said, "judge")
    assert str(error) in found.message
    run.state.clear_status("another")
    assert run.state.status() is not None
    run.state.clear_status(run.plan.run_key)
    assert run.state.status() is None


def test_state_of_a_newer_format_is_refused_and_of_an_earlier_one_goes_on(
    make_run: MakeRun,
) -> None:
    run = make_run()
    root = run.state.root
    marker = root / "format.json"
    claim(root)
    claim(root)
    marker.write_text('{"format": 2}')  # as it was written before records had versions
    claim(root)
    assert marker.read_text() == '{"format": 2}', "looking at it changes nothing"
    with run.step("judge"):
        assert f'"format": {STATE_FORMAT}' in marker.read_text()
    marker.write_text('{"format": 999}')
    with pytest.raises(WrittenByNewer, match="says format 999, this version reads up to"):
        claim(root)
    marker.write_text('{"format": 1}')
    with pytest.raises(StateError, match="says format 1, this version reads from 2 to"):
        claim(root)


def test_the_first_pipeline_that_claims_a_state_has_it(tmp_path: Path) -> None:
    state = PipelineState.beside(tmp_path / "scores")
    state.root.mkdir(parents=True)
    assert not state.is_of("p"), "it is nobody's"
    state.belong("p")
    state.belong("p")
    assert state.is_of("p")
    with pytest.raises(ConfigError, match="if it is 'p' with another name, say so in"):
        state.belong("q")
    marker = state.root / "table.json"
    marker.write_text(marker.read_text().replace('"p"', '"q"'))
    state.belong("q")
    with pytest.raises(ConfigError, match="has the scores of the pipeline 'q'"):
        state.is_of("p")


def test_a_state_of_an_earlier_version_is_that_of_the_pipeline_that_ran_there(
    make_run: MakeRun,
) -> None:
    run = make_run()
    state = PipelineState(run.state.root)
    name = run.plan.pipeline
    assert not (state.root / "table.json").exists()
    assert not state.is_of(name)
    with pytest.raises(ConfigError, match=f"has the scores of the pipeline '{name}'"):
        state.is_of("another")
    for text in ("", "{"):
        run.plan_file.write_text(text)
        state.is_of("another")


def test_the_table_lies_beside_its_state(tmp_path: Path) -> None:
    table = tmp_path / "deep" / "scores"
    state = PipelineState.beside(table)
    assert state.root == tmp_path / "deep" / "_nocturne" / "scores"
    assert state.table == table
