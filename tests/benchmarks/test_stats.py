"""The harness's own arithmetic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import journal, report, stats
from benchmarks.timing import Timing
from benchmarks.workloads import WORKLOADS, sized


def runs(contender: str, *rounds: tuple[float, float], ok: bool = True) -> list[dict[str, Any]]:
    """Rounds of 8 and 24 million rows."""
    return [
        {
            "contender": contender,
            "workload": "light",
            "round": number,
            "rows": rows,
            "seconds": seconds,
            "cpu_s": 2 * seconds,
            "worker_mb": 400.0,
            "ok": ok,
        }
        for number, both in enumerate(rounds, 1)
        for rows, seconds in zip((8_000_000, 24_000_000), both, strict=True)
    ]


def test_the_slope_is_the_added_seconds_of_a_million_added_rows() -> None:
    (pair,) = stats.pairs(runs("bare", (6.0, 14.0)), "bare", "light")
    assert pair.slope == pytest.approx(0.5)
    assert pair.fixed == pytest.approx(2.0)


def test_medians_and_spread_are_over_the_pairs() -> None:
    found = stats.pairs(runs("bare", (6, 14), (6, 22), (6, 15)), "bare", "light")
    entry = stats.summary("bare", "light", found)
    assert entry["slope_s_per_mrow"] == 0.5625
    assert entry["slope_spread"] == [0.5, 1.0]
    assert entry["cpu_slope_s_per_mrow"] == 1.125
    assert (entry["fixed_s"], entry["fixed_spread"]) == (1.5, [-2.0, 2.0])
    assert entry["peak_rss_mb_by_rows"] == {"8000000": 400.0, "24000000": 400.0}
    assert entry["runs"] == 3


def test_a_pair_of_which_one_run_is_missing_or_wrong_does_not_count() -> None:
    wrong = runs("bare", (6, 14), ok=False)
    half = runs("bare", (6, 14))[:1]
    assert stats.pairs([*wrong, *half], "bare", "light") == []


def test_ratios_compare_runs_of_the_same_round() -> None:
    one = stats.pairs(runs("daft", (6, 14), (12, 28)), "daft", "light")
    other = stats.pairs(runs("bare", (6, 10), (12, 20)), "bare", "light")
    assert stats.ratios(one, other) == pytest.approx((2.0, 2.0, 2.0))


def test_the_table_names_targets_and_ratios() -> None:
    text = report.markdown([*runs("bare", (6, 10)), *runs("nocturne", (8, 16))], "light")
    lines = text.splitlines()
    assert lines[2].startswith("| bare loop | 0.250 (0.250 to 0.250) | 1 | 0.50 ")
    assert "| Nocturne | 0.500" in lines[3]
    assert "≤ 1.10 ÷ bare" in lines[3]


def test_the_page_has_a_place_for_every_table() -> None:
    page = report.PAGE.read_text(encoding="utf-8")
    for workload in (*WORKLOADS, "flights"):
        once = report.replace_between(page, workload, "| new |")
        assert "| new |" in once
        assert report.replace_between(once, workload, "| new |") == once


def test_a_run_cut_short_in_the_journal_is_left_out(tmp_path: Path) -> None:
    timing = Timing(1.5, 0, 400, 900)
    run = journal.Run("s", "light", True, "bare", 1, 8, timing, "", {"report_s": 0.5})
    path = tmp_path / "runs.jsonl"
    journal.add(path, run.as_json())
    with open(path, "a") as file:
        file.write('{"session": "s", "workl')
    (found,) = journal.read(path, "s")
    assert (found["seconds"], found["report_s"], found["ok"]) == (1.5, 0.5, True)
    assert journal.last_session(path, "light") == "s"
    assert journal.read(path, "other") == []


def test_sizes_are_whole_files_of_which_the_larger_has_more() -> None:
    small = sized(WORKLOADS["light"], (0.25, 0.75), 1 << 16)
    assert small.sizes == (4, 12)
    assert not small.standard
    assert WORKLOADS["light"].standard
    with pytest.raises(SystemExit, match="smaller size first"):
        sized(small, (1, 1), None)


def test_figures_of_one_workload_leave_the_others_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    report.save([{"contender": "bare", "workload": "heavy"}], {"cores": 2})
    made = report.entries(runs("bare", (6, 14)), "light")
    report.save(made, {"cores": 4})
    report.save(made, {"cores": 8})
    saved = json.loads((tmp_path / "cpu.json").read_text())
    assert [entry["workload"] for entry in saved] == ["light", "heavy"]
    wanted = {"contender", "workload", "slope_s_per_mrow", "fixed_s", "peak_rss_mb", "runs"}
    assert wanted < set(saved[0])
    facts = json.loads((tmp_path / "machine.json").read_text())
    assert facts == {"heavy": {"cores": 2}, "light": {"cores": 8}}
