"""What a local Spark inherits of the environment, and what it is given instead."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyspark
import pytest

from nocturne.host import machine

OWN = Path(pyspark.__file__).parent
OURS = {
    "PYSPARK_PYTHON": sys.executable,
    "PYSPARK_DRIVER_PYTHON": sys.executable,
    "SPARK_LOCAL_IP": "127.0.0.1",
}
SAID = """
import json, os
from nocturne.host import machine
remarks = machine.remarks(os.environ)
print(json.dumps([machine.local_environment(os.environ), {r.name: r.actual for r in remarks}]))
"""


def spark_home(folder: Path, version: str) -> Path:
    """A folder like that of an unpacked Spark."""
    (folder / "bin").mkdir(parents=True)
    (folder / "jars").mkdir()
    (folder / "jars" / f"spark-core_2.13-{version}.jar").touch()
    return folder


def _names(environ: dict[str, str]) -> list[str]:
    return [remark.name for remark in machine._local_remarks(environ, sys.executable)]


def test_nothing_is_remarked_where_all_fits() -> None:
    assert machine.local_environment({}) == OURS
    assert (
        _names(
            {"SPARK_HOME": str(OWN), "PYSPARK_PYTHON": sys.executable, "PATH": os.environ["PATH"]}
        )
        == []
    )


def test_the_spark_of_another_version_is_not_used(tmp_path: Path) -> None:
    old = spark_home(tmp_path / "old", "3.5.1")
    [remark] = machine._local_remarks({"SPARK_HOME": str(old)}, sys.executable)
    assert remark.actual == f"{old} (Spark 3.5.1); pyspark here is {pyspark.__version__}"
    assert remark.variables == {"SPARK_HOME": str(OWN)}
    assert machine.local_environment({"SPARK_HOME": str(tmp_path)})["SPARK_HOME"] == str(OWN)
    same = spark_home(tmp_path / "same", pyspark.__version__)
    assert "SPARK_HOME" not in machine.local_environment({"SPARK_HOME": str(same)})


def test_another_python_is_not_used_and_another_name_of_ours_is(tmp_path: Path) -> None:
    bin_folder = Path(sys.executable).parent
    for given in (str(bin_folder / "python3"), "python3"):
        assert _names({"PYSPARK_PYTHON": given, "PATH": str(bin_folder)}) == []
    other = tmp_path / "python3"
    other.symlink_to(Path(sys.executable).resolve())  # as of another virtual environment
    assert _names({"PYSPARK_PYTHON": str(other)}) == ["PYSPARK_PYTHON"]
    [remark] = machine._local_remarks(
        {"PYSPARK_DRIVER_PYTHON": "jupyter", "PATH": ""}, sys.executable
    )
    assert remark.actual == "jupyter (there is no such program)"
    assert machine.local_environment({"PYSPARK_PYTHON": str(other)}) == OURS


@pytest.mark.parametrize("name", ["SPARK_LOCAL_IP", "SPARK_LOCAL_HOSTNAME"])
def test_an_address_that_somebody_chose_stays(name: str) -> None:
    assert {name: "10.1.1.1", **machine.local_environment({name: "10.1.1.1"})}[name] == "10.1.1.1"
    assert machine.local_environment({name: "10.1.1.1"}).get("SPARK_LOCAL_IP") in (None, "10.1.1.1")


def test_for_a_cluster_what_is_set_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"SPARK_HOME": "/opt/spark", "PYSPARK_PYTHON": "/opt/python", "LC_ALL": "C"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SPARK_LOCAL_IP", raising=False)
    for master in (None, "yarn", "spark://master:7077"):
        machine.adapt(master)
        assert {name: os.environ[name] for name in given} == given
        assert "SPARK_LOCAL_IP" not in os.environ


def _elsewhere(*before: str, **environ: str) -> tuple[dict[str, str], dict[str, str]]:
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "PYTHONPATH")}
    done = subprocess.run(
        [*before, sys.executable, "-c", SAID],
        env={**kept, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if before and done.returncode and "not permitted" in done.stderr:
        pytest.skip(f"this machine can't: {done.stderr}")
    assert done.returncode == 0, done.stderr
    variables, found = json.loads(done.stdout)
    return variables, found


def test_an_ascii_locale_is_not_handed_on() -> None:
    variables, found = _elsewhere(LC_ALL="C")
    assert variables == {**OURS, "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"}
    assert found["locale"] == "its encoding is ANSI_X3.4-1968"
    assert _elsewhere(LC_ALL="C.UTF-8")[0] == OURS
    assert "file names" in _elsewhere(LC_ALL="C", PYTHONUTF8="0")[1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_without_a_name_gets_one() -> None:
    become = ("setpriv", "--reuid", "4242", "--clear-groups")
    variables, found = _elsewhere(*become, LC_ALL="C.UTF-8")
    assert variables == {
        **OURS,
        "SPARK_USER": "uid4242",
        "USER": "uid4242",
        "LOGNAME": "uid4242",
        "SPARK_SUBMIT_OPTS": "-Duser.home=/tmp",
    }
    assert found["user"] == "uid 4242 has no entry in /etc/passwd"
    assert _elsewhere(*become, LC_ALL="C.UTF-8", HADOOP_USER_NAME="etl")[0]["SPARK_USER"] == "etl"
