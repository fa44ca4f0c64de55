"""The tutorial runs as it stands, block by block."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"```(python|bash)\n(.*?)```", re.DOTALL)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An empty project."""
    conf = tmp_path / "conf"
    for name in ("env", "schema", "spark"):
        shutil.copytree(ROOT / "conf" / name, conf / name)
    shutil.copy(ROOT / "conf" / "base.yaml", conf)
    for name in ("pipelines", "expectations"):
        (conf / name).mkdir()
    return tmp_path


def environment() -> dict[str, str]:
    """Without what other tests of this process have set."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "NOCTURNE_"))}
    return env | {"PATH": f"{Path(sys.executable).parent}:{env['PATH']}"}


def run(page: str, project: Path) -> str:
    """Run the blocks of a page, one after the other; what they said."""
    env = environment()
    said = ""
    for language, code in BLOCK.findall((ROOT / "docs" / page).read_text()):
        if language == "python":
            target = project / code.splitlines()[0].removeprefix("# file: ")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(code)
            continue
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", code],
            cwd=project,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
        )
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
        said += done.stdout + done.stderr
    return said


@pytest.mark.long
def test_the_tutorial_runs_from_the_first_block_to_the_last(project: Path) -> None:
    said = run("tutorial.md", project)
    assert "dry run, nothing was scored" in said
    for day in ("12", "13", "14"):
        table = pq.read_table(project / f"var/scores/fraud/ds=2026-01-{day}", partitioning=None)
        assert table.num_rows == 2000
        assert table.schema.names[-2:] == ["fraud_probability", "model_version"]
    assert not (project / "var/scores/fraud/ds=2026-01-11").exists()


@pytest.mark.long
def test_the_demo_runs_in_an_object_store(project: Path) -> None:
    for name in (
        "pipelines/flight_delay.yaml",
        *(f"expectations/flight_delay_{s}.yaml" for s in ("input", "output")),
    ):
        shutil.copy(ROOT / "conf" / name, project / "conf" / name)
    try:
        said = run("tutorial-stores.md", project)
    finally:
        subprocess.run(["pkill", "-F", project / "var" / "store" / "pid"], check=False)
    assert said.count("published") >= 2
    assert "bit-equal" in said
    assert "2013-04-02" in said.rpartition("shape: (2, 2)")[2]
    assert not (project / "var" / "demo" / "scores").exists()
    again = subprocess.run(
        [sys.executable, "-m", "nocturne.demo", "prepare"],
        cwd=project,
        env=environment() | {"NOCTURNE_HOME": str(project)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert again.stdout.count("was there already") == 2, again.stdout
    assert not (project / "s3:").exists()


@pytest.mark.long
def test_a_challenger_becomes_the_champion_by_hand_and_then_by_its_labels(project: Path) -> None:
    for name in (
        "pipelines/flight_delay.yaml",
        *(f"expectations/flight_delay_{s}.yaml" for s in ("input", "output")),
    ):
        shutil.copy(ROOT / "conf" / name, project / "conf" / name)
    said = run("tutorial-challengers.md", project)
    assert said.count("replay bit-equal") == 5
    assert "canary scores no more nights: the predictions of challenger differ" in said
    assert "canary: stopped: since" in said
    versions = {
        day: {*pq.read_table(_scores(project, day), partitioning=None)["model_version"].to_pylist()}
        for day in ("07", "08", "12", "14", "15", "16")
    }
    both = {1, 2}
    expected = {"07": {1}, "08": both, "12": both, "14": both, "15": {1}, "16": {2}}
    assert versions == expected
    beside = project / "var/demo/scores/flight_delay__challenger/ds=2013-07-01"
    assert pq.read_table(beside, partitioning=None).num_rows == 966

    said = run("tutorial-truth.md", project)
    assert "auc is 0.5" in said
    assert "proposed: auc +0.0" in said
    assert "over 14 nights with labels, 2013-07-02 to 2013-07-15" in said
    assert said.count("replay bit-equal") == 4
    versions = {
        day: {*pq.read_table(_scores(project, day), partitioning=None)["model_version"].to_pylist()}
        for day in ("16", "17", "18")
    }
    assert versions == {"16": {2}, "17": {2}, "18": {1}}
    page = (project / "var/truth.html").read_text()
    assert '<h2 id="truth">Truth</h2>' in page


def _scores(project: Path, day: str) -> Path:
    return project / f"var/demo/scores/flight_delay/ds=2013-07-{day}"
