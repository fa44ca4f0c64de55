"""What can be made again is kept where it can be, and made where it can't."""

from __future__ import annotations

from pathlib import Path

import pytest

from nocturne.host import cache


def _places(monkeypatch: pytest.MonkeyPatch, *places: Path) -> None:
    monkeypatch.setattr(cache, "_candidates", lambda: iter(places))


def test_a_text_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _places(monkeypatch, tmp_path / "kept")
    assert cache.text("a-1.js", lambda: "made") == "made"
    assert cache.text("a-1.js", lambda: pytest.fail("made again")) == "made"
    assert cache.text("a-2.js", lambda: "newer") == "newer"
    assert sorted(p.name for p in (tmp_path / "kept").iterdir()) == ["a-1.js", "a-2.js"]


def test_the_first_place_that_can_be_written_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    _places(monkeypatch, tmp_path / "file" / "below", tmp_path / "home")
    assert cache.folder() == tmp_path / "home"


def test_without_a_place_it_is_made_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    _places(monkeypatch, tmp_path / "file" / "below")
    assert cache.folder() is None
    assert [cache.text("a", lambda: "made") for _ in range(2)] == ["made", "made"]
