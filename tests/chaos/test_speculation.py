"""Spark itself runs a task twice, on a standalone cluster of two hosts. Only in `make chaos`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from chaos.conftest import MakeCluster, MakeRoot
from chaos.nights import DAY

pytestmark = pytest.mark.long


@pytest.fixture
def cluster(make_cluster: MakeCluster) -> str:
    """Two workers of a core; what runs on the second stops itself in its second batch.

    Speculation never puts both attempts on one host, so each worker has an address of its own.
    """
    return make_cluster({"127.0.0.2": "", "127.0.0.3": "split.batch@2=SIGSTOP"})


def test_a_task_that_spark_runs_twice_counts_once(
    make_root: MakeRoot, cluster: str, tmp_path: Path
) -> None:
    root, other = make_root(), make_root()
    events = tmp_path / "events"
    events.mkdir()
    spark = {
        "spark.speculation": True,
        "spark.speculation.interval": "200ms",
        "spark.speculation.quantile": 0.1,
        "spark.speculation.minTaskRuntime": "500ms",
        "spark.executor.memory": "512m",
        "spark.driver.host": "127.0.0.1",
        # Both hosts have to be there: the first one alone would take all tasks.
        "spark.scheduler.minRegisteredResourcesRatio": 1.0,
        "spark.cores.max": 2,
        "spark.eventLog.enabled": True,
        "spark.eventLog.dir": events.as_uri(),
        "spark.eventLog.compress": False,
    }
    root.configure("spark", master=cluster, conf=spark)
    done = subprocess.run(
        [sys.executable, "-m", "nocturne.cli", "score", "p", "--date", DAY],
        env={**os.environ, **root.environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    root.check()
    assert other.night() == 0
    published = root.published()
    assert published == other.published()
    said = "".join(path.read_text() for path in events.rglob("*") if path.is_file())
    assert '"Speculative":true' in said, "no task hung, so none was run twice"
    stopped = [p for p in psutil.process_iter() if p.status() == psutil.STATUS_STOPPED]
    for process in stopped:
        process.send_signal(signal.SIGCONT)
    psutil.wait_procs(stopped, timeout=30)
    assert root.published() == published, "the first attempt, which comes to its end last"
    root.check()
