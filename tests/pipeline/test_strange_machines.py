"""Spark on machines that are not like the builder's: it starts all the same, or it is said why not.

All of what a local Spark can be spared is there at once: each alone ended in "Java gateway process
exited before sending its port number".
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import QUICK_JAVA
from nocturne import config
from pipeline.conftest import DAYS, make_project

Project = Callable[..., config.Loaded]
UID = "4242"


def _nocturne(
    *arguments: str, before: tuple[str, ...] = (), **environ: str
) -> subprocess.CompletedProcess[str]:
    """Without what a Spark session of other tests has set in this process."""
    inherited = {
        n: v
        for n, v in os.environ.items()
        if n in QUICK_JAVA or not n.startswith(("SPARK_", "PYSPARK_"))
    }
    return subprocess.run(
        [*before, sys.executable, "-m", "nocturne.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        env={**inherited, **environ},
    )


def _strange() -> tuple[str, ...]:
    """Starts a command under a host name that does not resolve and a user without a name."""
    command = (
        "unshare",
        "--uts",
        "sh",
        "-c",
        'hostname nowhere-x && exec "$@"',
        "sh",
        "setpriv",
        "--reuid",
        UID,
        "--regid",
        UID,
        "--clear-groups",
        "--inh-caps",
        "+dac_read_search",  # pytest's folders, and Python's, may be root's
        "--ambient-caps",
        "+dac_read_search",
    )
    reads = "import os, mlflow; assert os.access(mlflow.__path__[0], os.R_OK)"
    try:
        subprocess.run([*command, sys.executable, "-c", reads], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"it takes root, unshare, setpriv and packages that all may read: {error}")
    return command


@pytest.mark.long
def test_a_night_is_published_on_the_strangest_of_machines(
    tmp_path: Path, registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _strange()
    root = tmp_path / "Größe"
    root.mkdir()
    make_project(root, registry, monkeypatch)
    theirs = tmp_path / "spark-3.5.1"
    (theirs / "bin").mkdir(parents=True)
    (theirs / "jars").mkdir()
    (theirs / "jars" / "spark-core_2.12-3.5.1.jar").touch()
    for path in (root, *root.rglob("*")):
        os.chown(path, int(UID), int(UID))
    strange = {
        "LC_ALL": "C",
        "HOME": "/nonexistent",
        "SPARK_HOME": str(theirs),
        "PYSPARK_PYTHON": "/usr/bin/python3",
        "PYSPARK_DRIVER_PYTHON": "jupyter",
    }

    scored = _nocturne("score", "p", "--date", DAYS[0], "--json", before=before, **strange)
    assert scored.returncode == 0, scored.stderr
    [night] = json.loads(scored.stdout.splitlines()[-1])
    assert (night["outcome"], night["rows_published"]) == ("published", 600)

    doctor = _nocturne("doctor", "--json", before=before, **strange)
    checks = {row["name"]: row for row in json.loads(doctor.stdout.splitlines()[-1])}
    assert doctor.returncode == 0, doctor.stdout
    assert "imports nocturne" in checks["Spark on local[*]"]["found"]
    assert checks["host name"]["found"] == (
        "nowhere-x does not resolve to an address; 127.0.0.1 is used"
    )
    assert checks["user"]["found"].endswith("; it is called uid4242")
    assert "(Spark 3.5.1); pyspark here is" in checks["SPARK_HOME"]["found"]
    assert checks["locale"]["found"].endswith("; Java and the workers run in C.UTF-8")
    assert {"PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON"} <= set(checks)


@pytest.mark.long
def test_what_never_can_start_is_terminal_and_said(project: Project) -> None:
    project(spark__conf={"spark.driver.extraJavaOptions": "-javaagent:/nowhere.jar"})

    scored = _nocturne("score", "p", "--date", DAYS[0])
    assert scored.returncode == 1, scored.stderr
    said = scored.stderr.splitlines()
    assert any(
        line.startswith("nocturne: Spark can't start: Java does not take its options")
        and "/nowhere.jar" in line
        for line in said
    ), scored.stderr

    doctor = _nocturne("doctor", "--json")
    assert doctor.returncode == 1
    checks = {row["name"]: row for row in json.loads(doctor.stdout.splitlines()[-1])}
    assert "/nowhere.jar" in checks["Spark on local[*]"]["found"]
