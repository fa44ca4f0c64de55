"""Scoring in processes, without Spark: the same files, and nothing lost when one is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from conftest import MakeRun, sample
from nocturne.errors import InputChanged, MachineError, RetryableError
from nocturne.processes import Processes
from nocturne.store.failpoints import VARIABLE
from nocturne.store.run import Run
from nocturne.worker.split import run_split
from waiting import gone, until

NEXT = "2024-01-02"


def _tables(rows: int = 2500) -> dict[str, pa.Table]:
    return {"part-0.parquet": sample(rows), "part-1.parquet": sample(rows, 1, first_id=rows)}


@pytest.fixture(scope="module")
def processes() -> Iterator[Processes]:
    with Processes(2) as started:
        yield started


def _results(run: Run) -> list[tuple[object, ...]]:
    return [(r.index, r.key, r.sha256, r.rows_in, r.profile, r.measured) for r in run.results()]


def _forked() -> list[psutil.Process]:
    """The servers of this process, and what they have forked."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "nocturne.processes" in process.cmdline():
                found.append(process)
    return found


def test_the_files_are_those_of_splits_scored_in_this_process(
    make_run: MakeRun, processes: Processes
) -> None:
    run, told = make_run(_tables()), list[tuple[int, int]]()
    assert processes.score([run], lambda done, rows: told.append((done, rows))) == {}
    assert told[-1] == (5000, 5000)
    forked = _results(run)
    for path in run.result_files():
        run.drop(path)
    for split in run.plan.splits:
        run_split(run, split)
    assert _results(run) == forked
    assert len(forked) == 6
    assert processes.score([run]) == {}, "all of it is scored"


def test_a_run_that_fails_does_not_stop_another(make_run: MakeRun, processes: Processes) -> None:
    bad, good = make_run(_tables()), make_run(_tables(), partition=NEXT)
    (Path(bad.plan.input_dir) / "part-1.parquet").write_bytes(b"something else")
    failures = processes.score([bad, good])
    assert [*failures] == [bad.uri]
    assert isinstance(failures[bad.uri], InputChanged)
    assert "part-1.parquet" in str(failures[bad.uri])
    assert good.is_scored
    assert len(bad.unscored()) == 3, "of the other file each split is scored"


def test_a_process_that_is_killed_costs_its_run_alone_and_the_next_call_goes_on(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "split.begun@3")
    run, other = make_run(_tables(3000)), make_run({"a.parquet": sample(800)}, partition=NEXT)
    with Processes(1) as dying:
        failures = dying.score([run, other])
        assert [*failures] == [run.uri]
        assert isinstance(failures[run.uri], RetryableError)
        assert "split 2 of scores 2024-01-01 ended by SIGKILL" in str(failures[run.uri])
        assert "dmesg" in str(failures[run.uri])
        assert "none[2]" in str(failures[run.uri])
        assert other.is_scored, "a new process has scored it"
        assert len(run.unscored()) == 4
        monkeypatch.delenv(VARIABLE)
    with Processes(2) as fresh:
        assert fresh.score([run]) == {}
    assert sum(result.rows_out for result in run.results()) == 6000


def test_when_the_driver_is_killed_nothing_of_it_stays(make_run: MakeRun) -> None:
    run = make_run(_tables(4000))
    code = (
        "import sys\n"
        "from nocturne.processes import Processes\n"
        "from nocturne.store.run import Run\n"
        "Processes(2).score([Run.open(sys.argv[1])])\n"
    )
    environment = {**os.environ, VARIABLE: "split.batch=SIGSTOP"}
    with subprocess.Popen([sys.executable, "-c", code, run.uri], env=environment) as driver:

        def stopped() -> list[psutil.Process]:
            family = psutil.Process(driver.pid).children(recursive=True)
            return [p for p in family if p.status() == psutil.STATUS_STOPPED]

        until(lambda: len(stopped()) == 2, "two processes that score")
        family = [p.pid for p in psutil.Process(driver.pid).children(recursive=True)]
        driver.kill()
        driver.wait()
    until(lambda: all(map(gone, family)), "the server and its processes to end")
    assert len(family) == 3


def test_stopping_while_it_scores_ends_all_of_it(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "split.batch=SIGSTOP")
    run, before = make_run(_tables()), {p.pid for p in _forked()}
    processes = Processes(2)
    answers: list[object] = []
    scoring = threading.Thread(target=lambda: answers.append(processes.score([run])))
    scoring.start()
    mine = until(
        lambda: [p for p in _forked() if p.pid not in before and p.status() == "stopped"],
        "a process that scores",
    )
    processes.stop()
    scoring.join(60)
    assert not scoring.is_alive()
    until(lambda: all(gone(p.pid) for p in mine), "its processes to end")
    [failures] = answers
    assert "ended" in str(failures)


def test_a_process_of_the_models_that_outlives_it_hides_no_end(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As a model does that scores in processes of its own."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, time\n"
        "from nocturne.worker import split\n"
        "def run_split(*_):\n"
        "    if not os.fork():\n"
        "        time.sleep(30)\n"
        "        os._exit(0)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "split.run_split = run_split\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    run = make_run()
    with Processes(1) as processes:
        [failure] = processes.score([run]).values()
    assert "SIGTERM" in str(failure)


def test_a_server_that_can_not_start_says_so(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libtorch.so is broken')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    with Processes(2) as processes, pytest.raises(MachineError, match="ended with exit code 1"):
        processes.score([make_run()])


def test_a_server_that_is_killed_is_worth_another_attempt(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes, before = Processes(1), {p.pid for p in _forked()}
    with processes:
        processes.start()
        [server] = until(lambda: [p for p in _forked() if p.pid not in before], "the server")
        server.send_signal(signal.SIGKILL)
        with pytest.raises(RetryableError, match="ended by SIGKILL"):
            processes.score([make_run()])
