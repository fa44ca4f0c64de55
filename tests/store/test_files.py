"""A file is written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nocturne.store.files import write_atomic


def test_the_last_writer_wins_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    assert write_atomic(path, b"one")
    assert write_atomic(path, b"two", durable=True)
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_an_exclusive_writer_wins_once(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert write_atomic(path, b"one", exclusive=True)
    assert not write_atomic(path, b"two", exclusive=True)
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("exclusive", [False, True])
def test_until_it_is_whole_it_has_a_hidden_name(tmp_path: Path, exclusive: bool) -> None:
    seen: list[str] = []

    def look() -> None:
        [temporary] = tmp_path.iterdir()
        assert temporary.read_bytes() == b"whole"
        seen.append(temporary.name)

    write_atomic(tmp_path / "file", b"whole", exclusive=exclusive, written=look)
    assert seen
    assert seen[0].startswith(".file.")
    assert seen[0].endswith(".tmp")


def test_a_writer_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"one")

    def fail() -> None:
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        write_atomic(path, b"two", written=fail)
    assert path.read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomic(tmp_path / "file", b"one")
    assert os.listdir(tmp_path) == ["file"]
    assert not write_atomic(tmp_path / "file", b"one", exclusive=True)
