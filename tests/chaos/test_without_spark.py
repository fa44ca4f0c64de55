"""``nocturne score`` with ``spark.master: none``, killed at random moments: the command, the server
of its processes, one that scores, or all of them.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from chaos.conftest import MakeRoot
from chaos.nights import DAY, Root
from chaos.test_moments import FIRST_SEED, TRIALS
from waiting import gone, until

SLOW = """
import sys, time
if sys.argv[0] == "-m":  # the server: so it is called this early
    from nocturne.engine.torch_model import TorchModel
    fast = TorchModel.predict

    def predict(self, encoded):
        time.sleep(0.06)
        return fast(self, encoded)

    TorchModel.predict = predict
"""
WHOM = ("command", "server", "worker", "all")


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH, with which each call of the model takes longer."""
    folder = tmp_path_factory.mktemp("slow")
    (folder / "sitecustomize.py").write_text(SLOW)
    return folder


def _start(root: Root, *path: Path) -> psutil.Popen:
    command = [str(Path(sys.executable).with_name("nocturne")), "score", "p", "--date", DAY]
    modules = os.pathsep.join([*map(str, path), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, **root.environment, "PYTHONPATH": modules}
    return psutil.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _kill(command: psutil.Process, whom: str) -> list[int]:
    """The processes that scored, the server before them."""
    with suppress(psutil.NoSuchProcess):
        servers = [p for p in command.children() if "nocturne.processes" in p.cmdline()]
        workers = [p for server in servers for p in server.children()]
        chosen = {"command": [command], "server": servers, "worker": workers[:1]}
        for process in chosen.get(whom, [command, *servers, *workers]):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        return [p.pid for p in (*servers, *workers)]
    return []


def check_killed_and_begun_again(
    root: Root,
    others: Sequence[Root],
    slow: Path,
    within_s: float,
    seed: int,
    record_property: Callable[[str, object], None],
) -> None:
    """Kill a night at a random moment; the next command publishes what one of the others has.

    Args:
        within_s: how long the night may go on after its first split is begun.
    """
    chance = random.Random(seed)
    root.configure("spark", master="none[2]")
    command = _start(root, slow)
    until(lambda: root.attempts() or gone(command.pid), "a split that is begun")
    time.sleep(chance.uniform(0, within_s))
    whom, before = chance.choice(WHOM), root.decided()
    family = _kill(command, whom)
    code = command.wait()
    until(lambda: all(map(gone, family)), "all of them to end")
    record_property("seed", seed)
    record_property("hit", f"{len(before) * 10 // 18}0% of the splits scored, {whom} killed")
    assert code in ((0, 75) if whom in ("server", "worker") else (0, -signal.SIGKILL))

    assert _start(root).wait() == 0
    root.check()
    assert root.published() in [other.published() for other in others]
    assert {n: i for n, i in root.decided().items() if n in before} == before


@pytest.mark.long
@pytest.mark.parametrize("table_format", ["parquet"])
@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + max(1, TRIALS // 4)))
def test_killed_at_a_random_moment(
    make_root: MakeRoot,
    slow: Path,
    record_property: Callable[[str, object], None],
    seed: int,
) -> None:
    root, other = make_root(), make_root()
    assert other.night() == 0
    check_killed_and_begun_again(root, [other], slow, 1.5, seed, record_property)
    assert root.gc() == 0
    assert not [name for name in root.files() if "/attempts" in name or ".tmp" in name]
