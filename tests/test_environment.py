"""The environment is the one that the lock describes, and nothing overwrote pyspark."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from pyspark import SparkConf

from nocturne.spark.application import Application

ROOT = Path(__file__).parents[1]
FILES = (ROOT / "requirements.lock", ROOT / "tests" / "requirements.lock")
LINES = [line for file in FILES for line in file.read_text().splitlines()]
LOCK = dict(line.split(" ;")[0].split("==") for line in LINES)


def test_the_lock_names_packages_and_versions_only() -> None:
    for line in LINES:
        assert re.fullmatch(r"[a-z0-9.\-\[\],]+==[^\s:/]+( ; .+)?", line), line


def test_no_package_is_in_both_locks() -> None:
    names = [re.split(r"\[|==", line)[0] for line in LINES]
    assert len(names) == len(set(names))


def test_no_pyspark_client_came_in_beside_pyspark() -> None:
    assert "pyspark-client" not in LOCK
    names = {d.metadata["Name"].lower() for d in importlib.metadata.distributions()}
    assert "pyspark-client" not in names
    assert "pyspark_client" not in names


def test_the_files_of_pyspark_are_its_own() -> None:
    files = importlib.metadata.files("pyspark") or []
    changed = [
        str(file)
        for file in files
        if file.suffix == ".py"
        and file.hash is not None
        and base64.urlsafe_b64encode(
            hashlib.new(file.hash.mode, Path(str(file.locate())).read_bytes()).digest()
        )
        .rstrip(b"=")
        .decode()
        != file.hash.value
    ]
    assert files
    assert changed == []


def test_no_process_of_ours_takes_modules_from_the_current_folder() -> None:
    """A random.py of the user's there would stand for Python's; ``-P`` keeps the folder out."""
    started = [
        (path.name, before)
        for folder in ("jobs", "plugins")
        for path in (ROOT / folder).rglob("*.py")
        for before in re.findall(r'(.{6})"-m", "nocturne', path.read_text())
    ]
    assert len(started) >= 5
    assert [name for name, before in started if not before.endswith('"-P", ')] == []


def test_a_trial_and_local_workers_do_so_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "random.py").write_text("raise RuntimeError('not mine')")
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-P", "-m", "nocturne.trial", str(tmp_path), str(os.getpid())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "request.json" in done.stderr
    assert "not mine" not in done.stderr
    started = SparkConf(False)
    monkeypatch.setattr("pyspark.SparkConf", lambda: started)
    monkeypatch.setattr("pyspark.SparkContext", mock.MagicMock())
    Application("x", "local[1]", {})._new({})
    assert started.get("spark.executorEnv.PYTHONSAFEPATH") == "1"
