"""What happened to a night, as the page tells it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nocturne import config
from nocturne.config import Loaded
from nocturne.errors import Held
from nocturne.operate.decisions import approve_held, reject_held, roll_back
from nocturne.operate.status import status_of
from nocturne.operate.timeline import Event, timeline
from nocturne.pipeline.places import Places
from nocturne.pipeline.publishing import publish_run
from nocturne.pipeline.recording import judge_run
from nocturne.records.status import RunStatus
from nocturne.store.partition_state import now
from pipeline.conftest import DAYS, night_of, scored, shift

MakeProject = Callable[..., Loaded]


def told(loaded: Loaded) -> tuple[list[Event], list[str]]:
    partition = config.partition(loaded.pipeline.input.partition, DAYS[0])
    places = Places.of(loaded)
    output, status = places.output(partition), status_of(loaded, partition, places)
    line, _ = output.state.known_lineage(status.manifest)
    return timeline(output.state, status, line)


def test_a_night_tells_what_happened_to_it(project: MakeProject, tmp_path: Path) -> None:
    loaded = project(quality__max_quarantined=0.5)
    partition = config.partition(loaded.pipeline.input.partition, DAYS[0])
    first = night_of(loaded, DAYS[0])

    def held() -> None:
        shift(tmp_path, DAYS[0])
        run = scored(loaded, DAYS[0], hold="a new model")
        judge_run(run)
        with pytest.raises(Held):
            publish_run(run)

    held()
    second = approve_held(loaded, partition, "ada")
    roll_back(loaded, partition, None, "bob")
    held()
    reject_held(loaded, partition, "eve", "keys are missing")

    events, damaged = told(loaded)
    assert damaged == []
    of_run = {
        key[:16]: [(e.what, e.by) for e in reversed(events) if e.run == key[:16]]
        for key in (first.run_key, second.run_key)
    }
    verdict, back = f"judged: {first.verdict}", ("rolled back", "bob")
    planned, published = ("planned", ""), ("published", "")
    assert of_run[first.run_key[:16]] == [planned, (verdict, ""), published, back]
    assert of_run[second.run_key[:16]] == [
        planned,
        ("judged: hold", ""),
        ("approved", "ada"),
        ("published", "ada"),
    ]
    by_what = {event.what: event for event in events}
    assert by_what["rejected"].why == "keys are missing"
    assert by_what["rolled back"].why.endswith(f", as manifest {first.id} had them")
    assert "a new model" in by_what["judged: hold"].why
    assert by_what["planned"].why == "600 rows, model small version 1"
    assert [e.manifest for e in events if e.what == "published"] == [second.id, first.id]
    moments = [event.at for event in events]
    assert moments == sorted(moments, reverse=True)
    assert all(moment.tzinfo for moment in moments)


def test_a_run_that_failed_tells_its_error_and_a_damaged_one_is_named(
    project: MakeProject,
) -> None:
    loaded = project()
    run = scored(loaded, DAYS[0])
    run.state.write_status(RunStatus.of(run.plan, "failed", "score", "the disk is full", now()))
    events, _ = told(loaded)
    assert (events[0].what, events[0].why, events[0].run) == (
        "failed",
        "the disk is full",
        run.name,
    )
    Path(run.plan_file).write_text("{")
    events, damaged = told(loaded)
    assert [event.what for event in events] == ["failed"]
    assert "run.json" in damaged[0]
