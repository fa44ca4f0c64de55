"""`nocturne watch` and `nocturne rows` as a person at a terminal uses them."""

from __future__ import annotations

import csv
import io
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from conftest import sample
from nocturne.cli import app
from nocturne.config import Loaded
from nocturne.errors import Held
from nocturne.pipeline.publishing import publish_run
from nocturne.pipeline.recording import judge_run
from nocturne.records.status import RunStatus
from nocturne.store.partition_state import now
from pipeline.conftest import DAYS, night_of, project, registry, scored

__all__ = ["project", "registry"]

Make = Callable[..., Loaded]


def _run(*arguments: str, columns: int = 100) -> str:
    done = CliRunner(env={"COLUMNS": str(columns)}).invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def _bad(root: Path, day: str) -> None:
    ids = pa.array([None, *range(1, 600)], pa.int64())
    path = root / "data" / f"ds={day}" / "part-0.parquet"
    pq.write_table(sample(600).set_column(0, "id", ids), path, row_group_size=250)


def _held(loaded: Loaded, root: Path) -> None:
    night_of(loaded, DAYS[0])
    _bad(root, DAYS[1])
    run = scored(loaded, DAYS[1])
    judge_run(run)
    with suppress(Held):
        publish_run(run)


def test_watch_shows_what_needs_somebody_with_its_commands(project: Make, tmp_path: Path) -> None:
    loaded = project(quality__max_quarantined=0.0)
    _held(loaded, tmp_path)
    run = scored(loaded, DAYS[2])
    status = RunStatus.of(run.plan, "running", "score", "", now(), rows_done=250)
    run.state.write_status(status)
    said = _run("watch", "p")
    assert f"HELD {DAYS[1]}" in said
    assert "1 of 600 rows (0.17%) are quarantined, over the limit of 0.00%" in said
    assert f"nocturne rows p --date {DAYS[1]}" in said
    assert f"nocturne approve p --date {DAYS[1]}" in said
    assert f"{DAYS[2]} score" in said
    assert "250 of 600 rows" in said
    assert "✓?…" in said
    assert max(map(len, said.splitlines())) <= 100


def test_watch_says_that_nothing_needs_anybody(project: Make) -> None:
    night_of(project(), DAYS[0])
    assert "Nothing needs you." in _run("watch", "p", "--once")


def test_watch_stays_until_it_is_interrupted(project: Make, tmp_path: Path) -> None:
    _held(project(quality__max_quarantined=0.0), tmp_path)
    command = [str(Path(sys.executable).with_name("nocturne")), "watch", "p", "--every", "0.5"]
    terminal, inside = pty.openpty()
    # What a shell starts in the background ignores the signal, and so would its children.
    command = ["env", "--default-signal=INT", *command]
    child = subprocess.Popen(
        command, stdin=inside, stdout=inside, stderr=inside, env=os.environ | {"TERM": "xterm"}
    )
    os.close(inside)
    shown, until = b"", time.monotonic() + 60
    while b"HELD" not in shown and time.monotonic() < until:
        if select.select([terminal], [], [], 0.5)[0]:
            shown += os.read(terminal, 65536)
    assert b"HELD" in shown
    child.send_signal(signal.SIGINT)
    while child.poll() is None and time.monotonic() < until:
        if select.select([terminal], [], [], 0.5)[0]:
            with suppress(OSError):  # it has closed the terminal
                os.read(terminal, 65536)
    assert child.wait(10) == 0


def test_rows_shows_reasons_and_rows_or_all_of_them_as_csv(project: Make, tmp_path: Path) -> None:
    _held(project(quality__max_quarantined=0.0), tmp_path)
    said = _run("rows", "p", "--date", DAYS[1])
    assert "the key id is null" in said
    assert "part-0.parquet" in said
    [row] = csv.DictReader(io.StringIO(_run("rows", "p", "--date", DAYS[1], "--csv")))
    assert (row["source_row"], row["id"], row["reason"]) == ("0", "", "the key id is null")
    assert _run("rows", "p", "--date", DAYS[0]) == f"no row of p {DAYS[0]} is quarantined\n"
    wrong = CliRunner().invoke(app, ["rows", "p", "--date", DAYS[4]])
    assert wrong.exit_code == 1
    assert "was never scored" in wrong.stderr


@pytest.mark.parametrize("publish", [True, False])
def test_judge_again_publishes_if_that_is_asked_and_allowed(
    project: Make, tmp_path: Path, publish: bool
) -> None:
    loaded = project(quality__max_quarantined=0.0)
    _held(loaded, tmp_path)
    asked = ["judge", "p", "--date", DAYS[1], "--by", "ada", *(["--publish"] * publish)]
    assert "verdict hold" in CliRunner().invoke(app, asked).stderr
    path = tmp_path / "conf" / "pipelines" / "p.yaml"
    path.write_text(path.read_text().replace("max_quarantined: 0.0", "max_quarantined: 0.5"))
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert ("published 599 rows as manifest" in done.stderr) == publish
    assert (tmp_path / "out" / "scores" / f"ds={DAYS[1]}").is_dir() == publish
    [judgement] = (tmp_path / "out/_nocturne/scores" / f"ds={DAYS[1]}").glob(
        "runs/*/judgement.json"
    )
    assert '"by":"ada"' in judgement.read_text().replace(" ", "")


def test_prepare_requeues_with_the_model_of_the_night(project: Make, tmp_path: Path) -> None:
    loaded = project(quality__max_quarantined=0.5)
    night_of(loaded, DAYS[0])
    assert (
        "no row of it is quarantined"
        in CliRunner().invoke(app, ["prepare", "p", "--date", DAYS[0], "--requeue"]).stderr
    )
    _bad(tmp_path, DAYS[1])
    night_of(loaded, DAYS[1])
    done = CliRunner().invoke(app, ["prepare", "p", "--date", DAYS[1], "--requeue"])
    assert done.exit_code == 0, done.output
    assert "2 unchanged splits are taken over" in done.stderr
    wrong = ["prepare", "p", "--date", DAYS[1], "--requeue", "--model-version", "7"]
    assert "the model that scored p" in CliRunner().invoke(app, wrong).stderr
