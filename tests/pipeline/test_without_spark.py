"""Nights by command on a machine without Java: ``spark.master: none``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nocturne import config
from nocturne.cli import doctor
from nocturne.errors import ConfigError
from nocturne.host import machine

Project = Callable[..., config.Loaded]

COMMAND = """
import sys

class NoSpark:
    def find_spec(self, name, path=None, target=None):
        if name in ("pyspark", "py4j"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoSpark())
from nocturne.cli import app
app(sys.argv[1:])
"""


@pytest.fixture
def without_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)


@pytest.mark.usefixtures("without_java")
def test_a_range_is_published_without_java_and_without_pyspark(project: Project) -> None:
    loaded = project(spark__master="none")
    command = ("score", "p", "--date", "2024-01-01", "--to", "2024-01-03", "--json")
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *command],
        capture_output=True,
        text=True,
        check=False,
        cwd=loaded.home,
    )
    assert done.returncode == 0, done.stderr
    nights = json.loads(done.stdout)
    assert [night["outcome"] for night in nights] == ["published"] * 3
    assert sum(night["rows_published"] for night in nights) == 1800


@pytest.mark.usefixtures("without_java")
def test_doctor_says_what_scores_and_that_nothing_needs_java(project: Project) -> None:
    project(spark__master="none[2]")
    checks = {check.name: check for check in (*doctor._java(), *doctor._processes_start())}
    assert all(check.ok for check in checks.values())
    assert "nothing needs it, as spark.master is none" in checks["Java"].found
    assert checks["no Spark, master none[2]"].found.startswith("2 cores; a process of Python 3.")
    assert doctor._launch_settings() == []


@pytest.mark.usefixtures("without_java")
def test_doctor_says_that_spark_needs_java(project: Project) -> None:
    project(spark__master="local[2]")
    [java] = doctor._java()
    assert not java.ok
    assert list(doctor._processes_start()) == []


@pytest.mark.parametrize("master", ["none[0]", "none[two]", "none,2", "nonesuch", "none[-1]"])
def test_a_master_that_is_nearly_none_is_refused(project: Project, master: str) -> None:
    with pytest.raises(ConfigError, match=r"expected none or none\[N\], with N cores"):
        project(spark__master=master)


@pytest.mark.parametrize("key", ["scoring.reader", "quality.scan"])
def test_what_spark_must_read_needs_spark(project: Project, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"{key}: spark needs Spark, and spark.master is none"):
        project(**{"spark__master": "none", key.replace(".", "__"): "spark"})


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "6400000 100000"}, 8),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu.max": ""}, 8),
        ({}, 8),
    ],
)
def test_a_containers_share_of_the_cores_counts(
    files: dict[str, str], cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert machine.usable_cores() == cores
    assert machine.cores_without_spark("none") == cores
    assert machine.cores_without_spark("none[*]") == cores
    assert machine.cores_without_spark("none[3]") == 3
    assert machine.cores_without_spark("local[3]") is None
    assert machine.cores_without_spark(None) is None
