"""`verify --since`: which published nights would come out otherwise today."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from nocturne import config, plan, publish
from nocturne.cli import app
from nocturne.layout import Layout
from nocturne.pipeline import outdated
from nocturne.pipeline.decisions import roll_back
from nocturne.pipeline.runs import published
from nocturne.records import Manifest, Run, load, read
from pipeline.conftest import DAYS, night_of

Project = Callable[..., config.Loaded]


@pytest.fixture
def raised(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Nights are scored by output version 2 until this is called, then by 3."""
    monkeypatch.setattr(plan, "OUTPUT_VERSION", 2)
    return lambda: monkeypatch.setattr(plan, "OUTPUT_VERSION", 3)


def _input(loaded: config.Loaded, day: str) -> Path:
    return loaded.home / "data" / f"ds={day}" / "part-0.parquet"


def _rewritten(path: Path, *, int96: bool = False, half: str = "") -> None:
    """The file with a column ``at``, of times; in INT96, or with a column as half floats."""
    table = pq.read_table(path, partitioning=None)
    if half:
        at = table.schema.get_field_index(half)
        table = table.set_column(at, half, table[half].cast(pa.float16(), safe=False))
    times = [dt.datetime(2024, 1, 1) + dt.timedelta(hours=hour) for hour in range(len(table))]
    table = table.append_column("at", pa.array(times, pa.timestamp("us")))
    pq.write_table(table, path, row_group_size=250, use_deprecated_int96_timestamps=int96)


def _asked(*options: str) -> tuple[int, list[str], str]:
    done = CliRunner().invoke(app, ["verify", "p", *options])
    return done.exit_code, done.stdout.splitlines(), done.stderr


def _partition(loaded: config.Loaded, day: str):  # type: ignore[no-untyped-def]
    return config.partition(loaded.pipeline.input.partition, day)


def test_nights_whose_input_is_read_otherwise_since_are_listed_with_their_command(
    project: Project, raised: Callable[[], None]
) -> None:
    loaded = project(output__passthrough=["word", "at"])
    _rewritten(_input(loaded, DAYS[0]), int96=True)
    _rewritten(_input(loaded, DAYS[1]), half="x")
    _rewritten(_input(loaded, DAYS[2]))
    for day in DAYS[:3]:
        night_of(loaded, day)
    assert _asked("--since", DAYS[0])[0] == 0
    raised()
    code, commands, said = _asked("--since", DAYS[0])
    assert code == 1
    assert commands == [f"nocturne score p --date {day} --model-version 1" for day in DAYS[:2]]
    assert f"{DAYS[0]}: column 'at' holds times in INT96" in said
    assert f"{DAYS[1]}: feature 'x' holds half floats" in said
    assert "2 of 3 published nights" in said
    assert _asked("--since", DAYS[1])[1] == commands[1:]
    assert _asked("--since", DAYS[0], "--to", DAYS[0])[1] == commands[:1]
    *_, last = _asked("--since", DAYS[0], "--json")[1]
    assert [(one["partition"], one["ok"], one["output_version"]) for one in json.loads(last)] == [
        (DAYS[0], False, 2), (DAYS[1], False, 2), (DAYS[2], True, 2)]  # fmt: skip

    for day in DAYS[:2]:  # what the commands do, here without Spark
        assert night_of(loaded, day).output_version == 3
    assert _asked("--since", DAYS[0])[:2] == (0, [])
    roll_back(loaded, _partition(loaded, DAYS[0]), None, "ada")
    assert _asked("--since", DAYS[0])[:2] == (1, commands[:1])


def test_files_that_were_not_scored_or_were_changed_are_named(project: Project) -> None:
    loaded = project()
    for day in DAYS[:4]:
        night_of(loaded, day)
    shutil.copy(_input(loaded, DAYS[4]), _input(loaded, DAYS[0]).with_name("part-1.parquet"))
    shutil.copy(_input(loaded, DAYS[4]), _input(loaded, DAYS[1]))
    hidden = _input(loaded, DAYS[2])
    hidden.rename(hidden.with_name("_part-0.parquet"))
    os.utime(_input(loaded, DAYS[3]))
    code, commands, said = _asked("--since", DAYS[0])
    assert code == 1
    assert [command.split()[4] for command in commands] == list(DAYS[:2])
    assert f"{DAYS[0]}: in the input and not scored: part-1.parquet" in said
    assert f"{DAYS[1]}: changed since it was scored: part-0.parquet" in said
    assert DAYS[2] not in said  # its file is gone; what is published stays as it was made
    assert DAYS[3] not in said


def test_a_night_without_its_input_is_not_known_where_types_are_read_otherwise(
    project: Project, raised: Callable[[], None]
) -> None:
    loaded = project()
    night_of(loaded, DAYS[0])
    shutil.rmtree(_input(loaded, DAYS[0]).parent)
    assert _asked("--since", DAYS[0])[0] == 0
    raised()
    code, _, said = _asked("--since", DAYS[0])
    assert code == 1
    assert "gone or not readable, so that nobody can tell" in said


def test_a_night_that_somebody_touched_is_said_and_stops_no_other(project: Project) -> None:
    loaded = project()
    for day in DAYS[:2]:
        night_of(loaded, day)
    (loaded.path("out/scores") / f"ds={DAYS[0]}" / "mine.parquet").write_bytes(b"x")
    code, commands, said = _asked("--since", DAYS[0])
    assert (code, commands) == (1, [])
    assert "1 of 2 published nights" in said
    assert f"{DAYS[0]}: " in said
    assert "not published from here" in said


def test_a_manifest_of_before_the_version_was_written_down_is_of_2(
    project: Project, raised: Callable[[], None]
) -> None:
    loaded = project()
    made = night_of(loaded, DAYS[0])
    state = Layout.of(loaded).partition_state(made.partition)
    path = publish.path_of(state, made.id)
    stored = json.loads(path.read_text())
    assert stored.pop("output_version") == 2
    path.write_text(json.dumps(stored))
    assert load(Manifest, path.read_text()) == made == published(loaded, made.partition)
    raised()
    assert _asked("--since", DAYS[0])[0] == 0  # nothing in its input is read otherwise


@pytest.mark.parametrize(
    ("zone", "told"), [("Europe/Berlin", 1), ("+05:30", 1), ("UTC", 0), ("+00:00", 0), (None, 0)]
)
def test_a_feature_of_times_in_a_named_zone_is_told(
    project: Project, tmp_path: Path, zone: str | None, told: int
) -> None:
    loaded = project()
    made = night_of(loaded, DAYS[0])
    state = Layout.of(loaded).partition_state(made.partition)
    run = read(Run, publish.run_folder(state, made) / "run.json")
    times = {"dtype": "frame", "encoder": "frame", "name": "frame",
             "features": [{"column": "at", "type": "datetime"}]}  # fmt: skip
    run = replace(run, encoding=run.encoding | {"inputs": [times]})
    column = pa.array([dt.datetime(2024, 1, 1)], pa.timestamp("us", zone))
    pq.write_table(pa.table({"at": column}), tmp_path / "at.parquet")
    assert len(list(outdated._types(pq.read_metadata(tmp_path / "at.parquet"), run))) == told


@pytest.mark.parametrize(
    "options",
    [(), ("--since", DAYS[0], "--date", DAYS[0]), ("--since", DAYS[0], "--replay"),
     ("--since", "yesterday")],
)  # fmt: skip
def test_options_that_do_not_fit_are_refused(project: Project, options: tuple[str, ...]) -> None:
    project()
    done = CliRunner().invoke(app, ["verify", "p", *options])
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("nocturne: ")
