"""The same on Spark: its driver, its JVM or its Python workers die. Only in `make chaos`."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from chaos.conftest import MakeRoot
from chaos.nights import DAY, Root
from nocturne.store.failpoints import VARIABLE
from waiting import until

TRIALS = 20
pytestmark = pytest.mark.long
POINTS = (
    "split.begun",
    "split.staged",
    "split.decided",
    "commit.arranged",
    "commit.written",
    "commit.swapped",
)


def _start(root: Root, failpoint: str = "") -> subprocess.Popen[bytes]:
    with open(_log(root), "wb") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "nocturne.cli", "score", "p", "--date", DAY],
            env={**os.environ, **root.environment, VARIABLE: failpoint},
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
        )


def _log(root: Root) -> Path:
    return root.path / "score.log"


@pytest.mark.parametrize("trial", range(TRIALS))
def test_killed_on_spark(
    make_root: MakeRoot, record_property: Callable[[str, object], None], trial: int
) -> None:
    root, other = make_root(), make_root()
    chance = random.Random(trial)
    if trial < len(POINTS):
        code = _start(root, POINTS[trial]).wait(300)
        of_a_worker = POINTS[trial].startswith("split.")
        assert code == -signal.SIGKILL or (of_a_worker and code), _log(root).read_text()
    else:
        process = _start(root)
        until(lambda: root.attempts() or process.poll() is not None, "a split that is begun", 120)
        assert process.poll() is None, _log(root).read_text()
        time.sleep(chance.uniform(0, 0.5))
        whom = chance.choice(("driver", "java", "worker", "all"))
        record_property("hit", f"Spark, {whom} killed")
        _kill(process, whom)
        process.wait(300)
    before = root.decided()

    assert _start(root).wait(300) == 0

    root.check()
    assert other.night() == 0
    assert root.published() == other.published(), "Spark or plain processes: the same bytes"
    after = root.decided()
    assert {name: after[name] for name in before} == before


def _kill(process: subprocess.Popen[bytes], whom: str) -> None:
    if whom == "all":
        os.killpg(process.pid, signal.SIGKILL)
    elif whom == "driver":
        process.kill()
    else:
        tree = [
            p
            for p in psutil.Process(process.pid).children(recursive=True)
            if p.status() != psutil.STATUS_ZOMBIE
        ]
        java = [p for p in tree if p.name() == "java"]
        workers = [p for p in tree if "daemon" in " ".join(p.cmdline())]
        for victim in (java if whom == "java" else workers)[-1:]:
            victim.kill()
