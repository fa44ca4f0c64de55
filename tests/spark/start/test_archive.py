"""The class-data archive is used if it is whole and fits, and is never in the way."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from nocturne.host import cache, java
from nocturne.spark.start import archive
from nocturne.spark.start.archive import Archive


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cache, "_candidates", lambda: iter([tmp_path / "kept"]))
    return tmp_path / "kept"


def _draft(found: Archive, content: bytes = b"classes") -> Path:
    options = found.make()
    path = Path(options.split("-XX:ArchiveClassesAtExit=")[1].split()[0])
    path.write_bytes(content)
    return path


def test_what_a_jvm_left_is_used_from_then_on(kept: Path) -> None:
    found = archive.find(java.find())
    assert found is not None
    assert (found.is_missing, found.path, found.use()) == (True, None, "")
    draft = _draft(found)
    assert found.keep(0)
    assert not draft.exists()
    assert not found.is_missing
    assert found.path is not None
    assert f"-XX:SharedArchiveFile={found.path}" in found.use()
    assert archive.find(java.find()) == found


def test_one_that_was_cut_short_is_not_used_since_a_jvm_crashes_on_it(kept: Path) -> None:
    found = archive.find(java.find())
    assert found is not None
    _draft(found)
    found.keep(0)
    assert found.path is not None
    found.path.write_bytes(b"cla")
    assert found.path is None
    assert found.use() == ""
    assert found.is_missing


@pytest.mark.parametrize(("content", "exit_code"), [(b"", 0), (b"half", 1), (None, 0)])
def test_one_that_could_not_be_made_is_not_tried_again(
    kept: Path, content: bytes | None, exit_code: int
) -> None:
    found = archive.find(java.find())
    assert found is not None
    if content is not None:
        _draft(found, content)
    assert not found.keep(exit_code)
    assert (found.path, found.is_missing) == (None, False)
    assert [p.suffix for p in kept.iterdir()] == [".failed"]


def test_one_that_no_jvm_starts_with_is_dropped(kept: Path) -> None:
    found = archive.find(java.find())
    assert found is not None
    _draft(found)
    found.keep(0)
    found.drop()
    assert (found.path, found.is_missing) == (None, False)


def test_drafts_of_killed_processes_are_tidied_away(kept: Path) -> None:
    found = archive.find(java.find())
    assert found is not None
    old, new = (kept / f".{found.stem.name}-{pid}.tmp" for pid in (1, 2))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    _draft(found)
    found.keep(0)
    assert (old.exists(), new.exists()) == (False, True)


def test_another_jvm_other_jars_and_another_class_path_have_their_own(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jvm = tmp_path / "jdk"
    for name in ("bin/java", "lib/modules"):
        (jvm / name).parent.mkdir(parents=True)
        (jvm / name).write_text(name)
    spark = tmp_path / "spark"
    (spark / "jars").mkdir(parents=True)
    found = [archive.find(java.find()), archive.find(str(jvm / "bin" / "java"))]
    found.append(archive.find(java.find(), "/opt/driver.jar"))
    monkeypatch.setenv("SPARK_HOME", str(spark))
    found.append(archive.find(java.find()))
    (spark / "jars" / "spark-core.jar").write_text("core")
    found.append(archive.find(java.find()))
    assert None not in found
    assert len({one.stem for one in found if one}) == 5


def test_an_environment_that_was_moved_behind_a_link_has_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: Path
) -> None:
    for place in ("here", "there"):
        (tmp_path / place / "jars").mkdir(parents=True)
    monkeypatch.setenv("SPARK_HOME", str(tmp_path / "link"))
    stems = set()
    for place in ("here", "there"):
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(tmp_path / place)
        found = archive.find(java.find())
        assert found is not None
        stems.add(found.stem)
    assert len(stems) == 2


def test_no_java_and_no_place_mean_no_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert archive.find(None) is None
    assert archive.find(str(tmp_path / "bin" / "java")) is None
    monkeypatch.setattr(cache, "_candidates", lambda: iter(()))
    assert archive.find(java.find()) is None
