"""A full disk and a read-only one: a clear error, nothing half published, and the way on."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from chaos.conftest import MakeRoot

TESTS = Path(__file__).parents[1]
UNSHARE = ("unshare", "--user", "--map-root-user", "--mount")
SCRIPT = """
import contextlib, subprocess, sys
from pathlib import Path
import jinja2, mlflow.pyfunc, scipy.special, torch  # once, and not in the process of each night
from chaos.nights import DAY, Root

root = Root(Path(sys.argv[1]))

def mount(options):
    subprocess.run(["mount", "-o", f"remount,{options}", str(root.path / "out")], check=True)

"""


def _may_mount() -> bool:
    try:
        done = subprocess.run(
            [*UNSHARE, "mount", "-t", "tmpfs", "t", "/mnt"], check=False, capture_output=True
        )
    except FileNotFoundError:
        return False
    return done.returncode == 0


pytestmark = [
    pytest.mark.skipif(
        not _may_mount(), reason="this system gives no mount namespace to its users (unshare)"
    ),
    pytest.mark.usefixtures("_on_a_disk"),
]


def _on_a_disk_of_its_own(root: Path, script: str, size: str = "100m") -> str:
    """Runs the script where ``out/`` is a file system of its own; its standard error."""
    (root / "out").rename(root / "tried")
    (root / "out").mkdir()
    code = SCRIPT + textwrap.dedent(script)
    command = (
        f'mount -t tmpfs -o size={size} t "$1/out" && cp -r "$1"/tried/. "$1/out" '
        '&& exec "$2" -c "$3" "$1"'
    )
    done = subprocess.run(
        [*UNSHARE, "sh", "-c", command, "sh", str(root), sys.executable, code],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.long
def test_a_disk_that_is_full_while_it_is_scored(make_root: MakeRoot) -> None:
    said = _on_a_disk_of_its_own(
        make_root().path,
        """
        assert root.night() == 0
        night, first = root.published(), root.manifest()
        filler = root.path / "out" / "filler"
        with contextlib.suppress(OSError), open(filler, "wb") as file:
            while True:
                file.write(bytes(1 << 16))
        (root.input / "part-1.parquet").unlink()  # corrected: another night
        code = root.night()
        assert code in (70, 75), code
        assert (root.published(), root.manifest()) == (night, first)
        root.wait(root.start(lambda: None))
        filler.unlink()
        assert root.night() == 0
        assert root.published() != night
        root.check()
        assert root.gc() == 0
        """,
    )
    assert "No space left on device" in said or "no space left" in said


@pytest.mark.long
def test_a_read_only_output_is_refused_and_says_who_must_write(make_root: MakeRoot) -> None:
    said = _on_a_disk_of_its_own(
        make_root().path,
        """
        assert root.night() == 0
        night = root.published()
        (root.input / "part-1.parquet").unlink()
        mount("ro")
        assert root.night() == 1
        assert root.published() == night
        mount("rw")
        assert root.night() == 0
        root.check()
        """,
    )
    assert "can't be written" in said
    assert "Traceback" not in said


@pytest.mark.long
def test_looking_and_going_back_on_a_read_only_disk(make_root: MakeRoot) -> None:
    said = _on_a_disk_of_its_own(
        make_root().path,
        """
        import os

        def command(*arguments):
            done = subprocess.run(
                [sys.executable, "-m", "nocturne.cli", *arguments], capture_output=True, text=True,
                env={**os.environ, **root.environment}, check=False,
            )
            print(done.stderr, file=sys.stderr)
            return done.returncode

        assert root.night() == 0
        (root.input / "part-1.parquet").unlink()
        assert root.night() == 0
        night = root.published()
        (root.path / "out" / "_nocturne" / "scores" / f"ds={DAY}" / "runs" / "x").mkdir()
        mount("ro")
        assert command("status", "p") == 0
        assert command("gc", "p", "--older-than", "0") == 0  # only lists
        assert command("gc", "p", "--older-than", "0", "--yes") == 1
        assert command("rollback", "p", "--date", DAY) == 1
        assert root.published() == night
        mount("rw")
        assert command("rollback", "p", "--date", DAY) == 0
        assert root.published() != night
        """,
    )
    assert said.count("Read-only file system") >= 2
    assert "Traceback" not in said


@pytest.mark.long
@pytest.mark.parametrize("size", ["64k", "100m,nr_inodes=12"])
def test_a_disk_or_its_inodes_that_are_full_while_the_model_is_copied(
    make_root: MakeRoot, size: str
) -> None:
    """MLflow copies in threads of its own; what it makes of their errors is still a full disk."""
    said = _on_a_disk_of_its_own(
        make_root().path,
        """
        filler = root.path / "out" / "filler"
        filler.write_bytes(bytes(44 << 10))
        assert root.night() == 75
        assert not list((root.path / "out").rglob(".download*")), "nothing half copied stays"
        """,
        size,
    )
    assert "no space left" in said
    assert "/models/" in said
    assert "Traceback" not in said
