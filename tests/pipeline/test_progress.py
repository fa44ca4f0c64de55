"""Progress says rows, rows/s and the time left."""

from __future__ import annotations

import pytest

from nocturne.pipeline.progress import Progress


def test_a_log_gets_a_line_every_few_seconds_and_one_at_the_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = Progress(every=60)
    for done in (0, 10, 20, 100):
        progress(done, 100)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "scoring: 0 of 100 rows, starting (0 s)"
    assert len(lines) == 2
    assert lines[1].startswith("scoring: 100 of 100 rows (100%)")


def test_a_start_that_takes_long_is_told_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = Progress(every=5)
    for second, done in ((0, 0), (6, 0), (30, 0), (59, 0), (60, 0), (66, 10), (72, 20)):
        monkeypatch.setattr("time.monotonic", lambda s=second: progress.started + s)
        progress(done, 100)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "scoring: 0 of 100 rows",
        "scoring: 0 of 100 rows",
        "scoring: 10 of 100 rows (10%)",
        "scoring: 20 of 100 rows (20%)",
    ]
    assert lines[1].endswith("starting (60 s)")


def test_rate_and_time_left_count_from_the_first_row_seen() -> None:
    progress = Progress()
    progress.line(0, 1_000_000, 10.0)
    progress.line(100_000, 1_000_000, 12.0)
    said = progress.line(500_000, 1_000_000, 16.0)
    assert said == "500,000 of 1,000,000 rows (50%), 100,000 rows/s, 5 s left"


def test_the_bar_makes_room_for_other_words(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    progress.terminal = True
    progress.clear()
    assert capsys.readouterr().err == ""
    progress(10, 100)
    capsys.readouterr()
    progress.clear()
    progress.clear()
    assert capsys.readouterr().err == "\r\x1b[K"
    progress(100, 100)
    capsys.readouterr()
    progress.clear()
    assert capsys.readouterr().err == ""
