"""A project of pipelines that are not run, and steps that answer as a test wants."""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nocturne.host import cache

REPOSITORY = Path(__file__).resolve().parents[2]

FakeSteps = Callable[[str], None]

PIPELINE = """\
name: {name}
model: {{name: m, alias: champion}}
input: {{path: var/in, partition: {partition}}}
output: {{path: var/out, keys: [id]}}
schedule: {{start_date: 2013-01-01, end_date: 2013-12-31}}
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a spark-submit that is none leaves, or takes away, is not this environment's."""
    monkeypatch.setattr(cache, "_candidates", lambda: iter([tmp_path / "cache"]))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own with one daily and one hourly pipeline."""
    pipelines = tmp_path / "conf" / "pipelines"
    pipelines.mkdir(parents=True)
    (tmp_path / "conf" / "env").mkdir()
    (tmp_path / "conf" / "base.yaml").write_text("spark: {conf: {spark.ui.enabled: false}}\n")
    (tmp_path / "conf" / "env" / "local.yaml").write_text("{}\n")
    (pipelines / "daily.yaml").write_text(
        PIPELINE.format(name="daily", partition='{ds: "%Y-%m-%d"}')
    )
    (pipelines / "hourly.yaml").write_text(
        PIPELINE.format(name="hourly", partition='{ds: "%Y-%m-%d", hour: "%H"}')
    )
    monkeypatch.setenv("NOCTURNE_HOME", str(tmp_path))
    monkeypatch.delenv("NOCTURNE_ENV", raising=False)
    return tmp_path


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSteps:
    """Replaces ``python -P -m nocturne.cli STEP ...`` by the body of a script: any exit code.

    In the body, ``args`` are the step and its arguments.
    """

    def write(body: str) -> None:
        path = tmp_path / "python-of-the-jobs"
        start = f"#!{sys.executable}\nimport json, os, sys, time\nargs = sys.argv[4:]\n"
        path.write_text(start + body)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("NOCTURNE_PYTHON", str(path))

    return write
