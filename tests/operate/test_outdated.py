"""`verify --since`: which published nights would come out otherwise today."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from conftest import MakeRun
from nocturne import config, plan
from nocturne.cli import app
from nocturne.codec import load
from nocturne.encoding import Encoding, Feature, OutputSpec, TensorSpec
from nocturne.operate import outdated
from nocturne.operate.decisions import roll_back
from nocturne.pipeline.nights import PublishedNights
from nocturne.pipeline.places import Places
from nocturne.records.manifest import Manifest
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
        (DAYS[0], False, 2),
        (DAYS[1], False, 2),
        (DAYS[2], True, 2),
    ]

    assert night_of(loaded, DAYS[0]).output_version == 3  # as its command does, without Spark
    assert _asked("--since", DAYS[0])[:2] == (1, commands[1:])
    roll_back(loaded, config.partition(loaded.pipeline.input.partition, DAYS[0]), None, "ada")
    assert _asked("--since", DAYS[0])[:2] == (1, commands)


def test_files_that_were_not_scored_or_were_changed_are_named(project: Project) -> None:
    loaded = project()
    path = _input(loaded, DAYS[0])
    commands = [
        f"nocturne score p --date {night_of(loaded, DAYS[0]).partition.key} --model-version 1"
    ]
    os.utime(path)
    assert _asked("--since", DAYS[0])[:2] == (0, [])
    late = shutil.copy(_input(loaded, DAYS[1]), path.with_name("part-1.parquet"))
    code, told, said = _asked("--since", DAYS[0])
    assert (code, told) == (1, commands)
    assert f"{DAYS[0]}: in the input and not scored: part-1.parquet" in said
    os.replace(late, path)
    code, told, said = _asked("--since", DAYS[0])
    assert (code, told) == (1, commands)
    assert f"{DAYS[0]}: changed since it was scored: part-0.parquet" in said

    night_of(loaded, DAYS[1])
    (loaded.path("out/scores") / f"ds={DAYS[1]}" / "mine.parquet").write_bytes(b"x")
    code, told, said = _asked("--since", DAYS[0])
    assert (code, told) == (1, commands)  # somebody has to look at the other one first
    assert f"{DAYS[1]}: " in said
    assert "not published from here" in said
    assert "2 of 2 published nights" in said


def test_a_night_of_before_versions_were_written_down_is_of_2_and_needs_its_input_to_be_known(
    project: Project, raised: Callable[[], None]
) -> None:
    loaded = project()
    made = night_of(loaded, DAYS[0])
    path = Places.of(loaded).output(made.partition).state.manifest_file(made.id)
    stored = json.loads(path.read_text())
    assert stored.pop("output_version") == 2
    path.write_text(json.dumps(stored))
    assert (
        load(Manifest, path.read_text()) == made == PublishedNights(loaded).manifest(made.partition)
    )
    folder = _input(loaded, DAYS[0]).parent
    away = folder.rename(folder.with_name("away"))
    assert _asked("--since", DAYS[0])[0] == 0
    raised()
    code, _, said = _asked("--since", DAYS[0])
    assert code == 1
    assert "missing or not readable, so it is unknown whether" in said
    away.rename(folder)
    assert _asked("--since", DAYS[0])[0] == 0  # nothing in it is read otherwise


@pytest.mark.parametrize(
    ("zone", "told"), [("Europe/Berlin", 1), ("+05:30", 1), ("UTC", 0), ("+00:00", 0), (None, 0)]
)
def test_a_feature_of_times_in_a_named_zone_is_told(
    make_run: MakeRun, tmp_path: Path, zone: str | None, told: int
) -> None:
    times = TensorSpec("frame", "frame", "frame", (Feature("at", type="datetime"),))
    run = make_run().changed(encoding=Encoding((times,), (OutputSpec("p"),)))
    column = pa.array([dt.datetime(2024, 1, 1)], pa.timestamp("us", zone))
    pq.write_table(pa.table({"at": column}), tmp_path / "at.parquet")
    assert len(list(outdated._types(pq.read_metadata(tmp_path / "at.parquet"), run))) == told


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--since", DAYS[0], "--date", DAYS[0]),
        ("--since", DAYS[0], "--replay"),
        ("--since", "yesterday"),
    ],
)
def test_options_that_do_not_fit_are_refused(project: Project, options: tuple[str, ...]) -> None:
    project()
    done = CliRunner().invoke(app, ["verify", "p", *options])
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("nocturne: ")
