"""Scoring in processes, without Spark: the same files, and nothing lost when one is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
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


def _forked(of: int | None = None) -> list[psutil.Process]:
    """The servers of a process (default: this one), and what they have forked."""
    found = []
    for process in psutil.Process(of).children(recursive=True):
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


Behave = Callable[[str], None]


@pytest.fixture
def behave(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Behave:
    """Replaces what the processes do with a split: the body of ``run_split(run, split, slot)``."""

    def make(body: str) -> None:
        lines = "".join(f"    {line}\n" for line in body.splitlines())
        (tmp_path / "sitecustomize.py").write_text(
            "import ctypes, os, signal, subprocess, sys, time\n"
            "from nocturne.errors import DeviceLost\n"
            "from nocturne.worker import split as room\n"
            f"scored = room.run_split\ndef run_split(run, split, slot, **more):\n{lines}"
            "    return scored(run, split, slot, **more)\n"
            "room.run_split = run_split\n"
        )
        path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        monkeypatch.setenv("PYTHONPATH", path)

    return make


def test_a_process_of_the_models_that_outlives_it_hides_no_end(
    make_run: MakeRun, behave: Behave
) -> None:
    """As a model does that scores in processes of its own."""
    behave(
        "if not os.fork():\n"
        "    time.sleep(60)\n"
        "    os._exit(0)\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    with Processes(1) as processes:
        [failure] = processes.score([make_run()]).values()
    assert "SIGTERM" in str(failure)


def test_a_file_of_the_models_own_processes_stays_open(make_run: MakeRun, behave: Behave) -> None:
    behave(
        "child = os.fork()\n"
        "if not child:\n"
        "    mine = os.open('/dev/null', os.O_WRONLY)\n"
        "    inner = os.fork()\n"
        "    if not inner:\n"
        "        os._exit(0 if os.write(mine, b'x') == 1 else 1)\n"
        "    os._exit(os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1]))\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
    )
    with Processes(1) as processes:
        assert processes.score([make_run()]) == {}


def test_a_process_that_closes_its_socket_and_goes_on_is_ended(
    make_run: MakeRun, behave: Behave
) -> None:
    behave("os.closerange(3, 200)\ntime.sleep(600)\n")
    run, other = make_run(), make_run({"a.parquet": sample(10)}, partition=NEXT)
    with Processes(1) as processes:
        failures = processes.score([run, other])
    assert [*failures] == [run.uri, other.uri]
    assert "ended by SIGKILL" in str(failures[run.uri])


def test_what_a_model_starts_ends_with_the_command(
    make_run: MakeRun, behave: Behave, tmp_path: Path
) -> None:
    behave(
        "child = subprocess.Popen(['sleep', '600'])\n"
        f"open('{tmp_path}/started', 'a').write(f'{{child.pid}} ')\n"
    )
    with Processes(2) as processes:
        assert processes.score([make_run()]) == {}
        started = [int(pid) for pid in (tmp_path / "started").read_text().split()]
        assert started
        assert not any(map(gone, started))
    until(lambda: all(map(gone, started)), "what the model has started to end")


def test_what_a_model_prints_is_shown_and_not_as_the_commands_answer(
    make_run: MakeRun, behave: Behave
) -> None:
    behave("print('printed', split.index, end='')")
    code = (
        "import sys\n"
        "from nocturne.processes import Processes\n"
        "from nocturne.store.run import Run\n"
        "with Processes(2) as processes:\n"
        "    assert processes.score([Run.open(sys.argv[1])]) == {}\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", code, make_run().uri]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert [f"printed {n}" in done.stderr for n in range(3)] == [True] * 3


def test_a_model_that_ends_its_process_shows_where(
    make_run: MakeRun, behave: Behave, capfd: pytest.CaptureFixture[str]
) -> None:
    behave("raise KeyboardInterrupt('of the model')")
    with Processes(1) as processes:
        [failure] = processes.score([make_run()]).values()
    assert "ended with exit code 1" in str(failure)
    assert "KeyboardInterrupt: of the model" in capfd.readouterr().err


def test_hashes_are_the_same_in_every_process_and_command_as_under_spark(
    make_run: MakeRun, behave: Behave, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    behave(f"open('{tmp_path}/hashes', 'a').write(f'{{hash(\"abc\")}} ')")
    for day in ("2024-01-01", NEXT):
        with Processes(2) as processes:
            assert processes.score([make_run(partition=day)]) == {}
    hashes = (tmp_path / "hashes").read_text().split()
    code = "print(hash('abc'))"
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    spark = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {*hashes} == {spark.stdout.strip()}
    assert len(hashes) == 6


def test_the_processes_have_the_variables_that_the_yaml_gives_workers(
    make_run: MakeRun, behave: Behave, tmp_path: Path
) -> None:
    behave(
        f"open('{tmp_path}/said', 'w').write(os.environ['MINE'] + os.environ['OMP_NUM_THREADS'])"
    )
    with Processes(1, 3, {"MINE": "mine"}) as processes:
        assert processes.score([make_run()]) == {}
    assert (tmp_path / "said").read_text() == "mine3"


def test_a_lost_device_is_used_by_a_new_process_only(
    make_run: MakeRun, behave: Behave, tmp_path: Path
) -> None:
    behave(
        f"lost = '{tmp_path}/lost'\n"
        "if not os.path.exists(lost):\n"
        "    open(lost, 'w').write(str(os.getpid()))\n"
        "if open(lost).read() == str(os.getpid()):\n"
        "    raise DeviceLost('the device cuda:0 failed')\n"
    )
    first, second = make_run(), make_run(partition=NEXT)
    with Processes(1) as processes:
        failures = processes.score([first, second])
    assert [*failures] == [first.uri]
    assert len(first.unscored()) == 1


def test_where_no_second_process_can_be_forked_the_first_does_it_all(
    make_run: MakeRun, behave: Behave, tmp_path: Path
) -> None:
    behave("")
    limit = (
        "forks, fork = [0], os.fork\n"
        "def limited():\n"
        "    forks[0] += 1\n"
        f"    if forks[0] > int(open('{tmp_path}/limit').read()):\n"
        "        raise BlockingIOError(11, 'Resource temporarily unavailable')\n"
        "    return fork()\n"
        "os.fork = limited\n"
    )
    with open(tmp_path / "sitecustomize.py", "a") as file:
        file.write(limit)
    (tmp_path / "limit").write_text("1")
    with Processes(2) as processes:
        assert processes.score([make_run(_tables())]) == {}
    (tmp_path / "limit").write_text("0")
    none = pytest.raises(RetryableError, match=r"Resource temporarily unavailable.* none\[2\]")
    with Processes(2) as processes, none:
        processes.score([make_run(partition=NEXT)])


def test_a_process_that_a_model_forks_from_the_driver_keeps_nothing_alive(
    make_run: MakeRun,
) -> None:
    """As a pyfunc may, while kernels and sizes are searched for in the driver."""
    code = (
        "import os, sys, time\n"
        "from nocturne.processes import Processes\n"
        "processes = Processes(1)\n"
        "processes.wait()\n"
        "if not os.fork():\n"
        "    time.sleep(60)\n"
        "    os._exit(0)\n"
        "print('forked', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == b"forked\n"
        children = psutil.Process(driver.pid).children(recursive=True)
        servers = _forked(driver.pid)
        assert servers
        driver.kill()
        driver.wait()
        until(lambda: all(gone(p.pid) for p in servers), "the server to end")
        for process in children:
            with suppress(psutil.Error):
                process.kill()


def test_once_stopped_it_starts_nothing(make_run: MakeRun) -> None:
    processes, before = Processes(1), {p.pid for p in _forked()}
    processes.start()
    processes.stop()
    with pytest.raises(RetryableError, match="scoring was stopped"):
        processes.score([make_run()])
    assert {p.pid for p in _forked()} <= before


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
