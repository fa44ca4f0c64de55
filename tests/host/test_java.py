"""Java is found, or the way to get it is said at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nocturne.host import java


def test_the_java_of_this_machine_is_fit() -> None:
    found = java.find()
    assert found is not None
    assert (java.version(found) or 0) >= 17


def test_a_java_that_is_too_old_or_broken_is_not_taken(tmp_path: Path) -> None:
    old = tmp_path / "java"
    for text, version in (
        ("echo java.base@11.0.2", None),
        ("exit 1", None),
        ("echo java.base@21.0.1; echo jdk.incubator.vector@21", 21),
    ):
        old.write_text(f"#!/bin/sh\n{text}\n")
        old.chmod(0o755)
        assert java.version(str(old)) == version
    assert java.version(str(tmp_path / "nothing")) is None


def test_a_java_that_does_not_answer_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = tmp_path / "java"
    hangs.write_text("#!/bin/sh\nexec sleep 30\n")
    hangs.chmod(0o755)
    monkeypatch.setattr(java, "_LIMIT_S", 0.2)
    assert java.version(str(hangs)) is None
    assert not java.fit(str(hangs))


def test_the_java_that_this_debian_has_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian 13 has no openjdk-17; apt-get is a script here, which says what it was asked."""
    apt = tmp_path / "apt-get"
    apt.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\ncase "$*" in *openjdk-17*) exit 100;; esac\n'
    )
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    java._install()
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[-1] == "-qq -y install openjdk-21-jre-headless"


def test_missing_java_names_the_commands_that_fix_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    script = Path(java.__file__)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    for command in ("apt-get install openjdk-17", "brew install", "conda install"):
        assert command in done.stderr
