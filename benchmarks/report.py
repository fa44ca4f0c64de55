"""The results as files: benchmarks/results/*.json and the tables in docs/benchmarks.md."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.contenders import CONTENDERS
from benchmarks.layout import RESULTS, ROOT
from benchmarks.stats import Pair, pairs, ratios, summary

__all__ = ["PAGE", "START", "STOP", "entries", "markdown", "replace_between", "save", "write_page"]

PAGE = ROOT / "docs" / "benchmarks.md"
START, STOP = "<!-- results: {} -->", "<!-- end of results: {} -->"
TARGETS = {
    "daft": 1.2,
    "ray_data": 2.5,
    "mapInArrow": 3.5,
    "predict_batch_udf": 4.5,
    "spark_udf": 5.0,
}
"""Light model: at least so many times our slope."""
TARGET_BARE = 1.10
"""Light model: our slope is at most so many times the bare loop's."""

Runs = Sequence[Mapping[str, Any]]


def _found(runs: Runs, workload: str) -> dict[str, list[Pair]]:
    by_name = {name: pairs(runs, name, workload) for name in CONTENDERS}
    return {name: found for name, found in by_name.items() if found}


def entries(runs: Runs, workload: str) -> list[dict[str, Any]]:
    """What cpu.json holds of a workload; ours also with what its nights' files say."""
    made = []
    for name, found in _found(runs, workload).items():
        entry = summary(name, workload, found)
        timed = [r for r in runs if r["contender"] == name and r["ok"] and r["round"]]
        for key in ("first_split_s", "check_s", "report_s"):
            by_rows: dict[int, list[float]] = {}
            for run in timed:
                if key in run:
                    by_rows.setdefault(run["rows"], []).append(run[key])
            if by_rows:
                entry[key] = {str(rows): round(median(v), 2) for rows, v in by_rows.items()}
        made.append(entry)
    return made


def save(made: Iterable[Mapping[str, Any]], facts: Mapping[str, Any]) -> None:
    """Replace these workloads' entries in cpu.json, and the machine's facts for them."""
    made = list(made)
    workloads = {entry["workload"] for entry in made}
    path, facts_path = RESULTS / "cpu.json", RESULTS / "machine.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    known = json.loads(facts_path.read_text(encoding="utf-8")) if facts_path.exists() else {}
    kept = [entry for entry in before if entry["workload"] not in workloads]
    rows = sorted([*kept, *made], key=lambda e: e["workload"] != "light")
    text = "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"
    RESULTS.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    known.update({workload: dict(facts) for workload in sorted(workloads)})
    facts_path.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")


def markdown(runs: Runs, workload: str) -> str:
    """The workload's table, fastest slope first."""
    if workload == "flights":
        return _flights(runs)
    found = _found(runs, workload)
    made = {entry["contender"]: entry for entry in entries(runs, workload)}
    lines = [
        "| | s per million rows (least to most) | ÷ bare loop | ÷ Nocturne | to reach "
        "| processor s per million rows | fixed start, s "
        "| a worker's peak, MB (small, large size) | pairs |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in sorted(found, key=lambda n: made[n]["slope_s_per_mrow"]):
        entry = made[name]
        low, high = entry["slope_spread"]
        small, large = entry["peak_rss_mb_by_rows"].values()
        cells = [
            CONTENDERS[name].title,
            f"{entry['slope_s_per_mrow']:.3f} ({low:.3f} to {high:.3f})",
            _ratio(found[name], found.get("bare")),
            _ratio(found[name], found.get("nocturne")),
            _target(name) if workload == "light" else "",
            f"{entry['cpu_slope_s_per_mrow']:.2f}",
            f"{entry['fixed_s']:.1f}",
            f"{small:.0f}, {large:.0f}",
            str(entry["runs"]),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _flights(runs: Runs) -> str:
    ours = [r for r in runs if r["workload"] == "flights" and r["ok"] and r["round"]]
    lines = [
        "| days | rows | s, all of it | of it expectations and Data Docs | reports "
        "| s to the first split | runs |",
        "|---|---|---|---|---|---|---|",
    ]
    for amount in sorted({run["days"] for run in ours}):
        same = [run for run in ours if run["days"] == amount]
        names = ("seconds", "check_s", "report_s", "first_split_s")
        values = [median(r.get(name, math.nan) for r in same) for name in names]
        spread = (
            f" ({min(r['seconds'] for r in same):.1f} to {max(r['seconds'] for r in same):.1f})"
        )
        cells = [
            str(amount),
            f"{same[0]['rows']:,}",
            f"{values[0]:.1f}{spread}",
            *(f"{value:.1f}" for value in values[1:]),
            str(len(same)),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _target(name: str) -> str:
    if name == "nocturne":
        return f"≤ {TARGET_BARE:.2f} ÷ bare"
    return f"≥ {TARGETS[name]:g} ÷ Nocturne" if name in TARGETS else ""


def _ratio(one: list[Pair], other: list[Pair] | None) -> str:
    if other is None or one is other:
        return "1" if other else ""
    middle, low, high = ratios(one, other)
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def replace_between(text: str, workload: str, table: str) -> str:
    """The page with the table put between the workload's two markers."""
    start, stop = START.format(workload), STOP.format(workload)
    head, found, rest = text.partition(start)
    _, ended, tail = rest.partition(stop)
    if not (found and ended):
        raise SystemExit(f"{PAGE} has no lines {start} and {stop} for the table to go between")
    return f"{head}{start}\n{table}\n{stop}{tail}"


def write_page(runs: Runs, workload: str, page: Path = PAGE) -> None:
    """Rewrite the workload's table in docs/benchmarks.md."""
    text = replace_between(page.read_text(encoding="utf-8"), workload, markdown(runs, workload))
    page.write_text(text, encoding="utf-8")
