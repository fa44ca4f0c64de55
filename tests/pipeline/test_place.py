"""Where scores can't be published: found before a row is scored, and said with what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nocturne import config
from nocturne.cli import app
from nocturne.errors import PublishError
from nocturne.pipeline import prepare
from pipeline.conftest import night_of

DAY = "2024-01-02"
_ROOT = () if os.geteuid() == 0 else ("--user", "--map-root-user")
UNSHARE = ("unshare", *_ROOT, "--mount")
SCRIPT = """
import subprocess
from pathlib import Path

from nocturne import config
from nocturne.errors import PublishError
from nocturne.pipeline import prepare

loaded = config.load("p")
table = loaded.path("out/scores")
night = config.partition(loaded.pipeline.input.partition, "{day}")
elsewhere = loaded.path("elsewhere")
elsewhere.mkdir()
for how, where in (
    (["-t", "tmpfs", "t"], table), (["--bind", elsewhere], table),
    (["-t", "tmpfs", "t"], table / night.path),
):
    where.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", *how, where], check=True)
    try:
        prepare(loaded, night)
    except PublishError as error:
        print("refused:", error)
    print("left:", [path.name for path in where.iterdir()])
    subprocess.run(["umount", where], check=True)
print(prepare(loaded, night).action)
"""


def _may_mount() -> bool:
    try:
        done = subprocess.run(
            [*UNSHARE, "mount", "-t", "tmpfs", "t", "/mnt"], check=False, capture_output=True
        )
    except FileNotFoundError:
        return False
    return done.returncode == 0


@pytest.mark.long
def test_an_output_on_another_file_system_than_its_state_is_refused_by_prepare(project) -> None:  # type: ignore[no-untyped-def]
    """A disk, a folder mounted elsewhere on the same disk, and a partition that is a disk."""
    if not _may_mount():
        pytest.skip("this system gives no mount namespace to its users (unshare)")
    project()
    done = subprocess.run(
        [*UNSHARE, sys.executable, "-c", SCRIPT.format(day=DAY)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    disk, bound, partition = (line for line in done.stdout.splitlines() if "refused: " in line)
    for said in (disk, bound):
        assert "lie on two file systems (or mounts)" in said
        assert "Put output.path and the _nocturne folder beside it on one" in said
    assert f"ds={DAY} is a mount point" in partition
    assert done.stdout.count("left: []") == 3
    assert done.stdout.splitlines()[-1] == "score"


def test_a_published_folder_that_is_a_link_is_refused_and_stays(project, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    loaded = project()
    manifest = night_of(loaded, DAY)
    night = config.partition(loaded.pipeline.input.partition, DAY)
    folder, moved = tmp_path / "out" / "scores" / f"ds={DAY}", tmp_path / "moved"
    folder.rename(moved)
    folder.symlink_to(moved)

    assert prepare(loaded, night).action == "nothing", "what it leads to is read as it was"
    with pytest.raises(PublishError, match=r"ds=2024-01-02 is a link to .*moved.*Move the folder"):
        prepare(loaded, night, force=True)
    assert folder.is_symlink()
    assert {p.name for p in moved.iterdir()} == {file.path for file in manifest.outputs}

    folder.unlink()
    moved.rename(folder)
    assert prepare(loaded, night, force=True).action == "score"


def test_ready_waits_for_a_copy_and_fails_for_what_time_does_not_mend(project) -> None:  # type: ignore[no-untyped-def]
    """Airflow's sensor goes by these exit codes."""
    folder = project().path("data") / f"ds={DAY}"
    for name, code in (("late.parquet._COPYING_", 75), ("late.parquet", 1)):
        (folder / name).symlink_to("nowhere")
        done = CliRunner().invoke(app, ["ready", "p", "--date", DAY])
        assert done.exit_code == code, done.output
        assert name in done.stderr
        (folder / name).unlink()
    assert CliRunner().invoke(app, ["ready", "p", "--date", DAY]).exit_code == 0


def test_a_link_to_nothing_or_a_file_where_scores_would_lie_is_refused(project) -> None:  # type: ignore[no-untyped-def]
    loaded = project()
    night = config.partition(loaded.pipeline.input.partition, DAY)
    target = loaded.path("out/scores") / night.path
    target.parent.mkdir(parents=True)
    target.symlink_to("nowhere")
    with pytest.raises(PublishError, match="is a link to nowhere"):
        prepare(loaded, night)
    target.unlink()
    target.write_text("mine")
    with pytest.raises(PublishError, match="is a file; expected the folder of a published"):
        prepare(loaded, night)
    assert target.read_text() == "mine"
