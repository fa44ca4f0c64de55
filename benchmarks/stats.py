"""From timed runs to figures: slope, fixed start, medians and their spread."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

__all__ = ["Pair", "pairs", "ratios", "summary"]


@dataclass(frozen=True)
class Pair:
    """One contender's small and large run of one round, seconds and rows."""

    round: int
    rows: tuple[int, int]
    seconds: tuple[float, float]
    worker_mb: tuple[float, float]
    cpu: tuple[float, float]

    @property
    def cpu_slope(self) -> float:
        """Processor seconds that a million more rows cost, on all cores together."""
        return (self.cpu[1] - self.cpu[0]) / (self.rows[1] - self.rows[0]) * 1e6

    @property
    def slope(self) -> float:
        """Seconds that a million more rows cost."""
        return (self.seconds[1] - self.seconds[0]) / (self.rows[1] - self.rows[0]) * 1e6

    @property
    def fixed(self) -> float:
        """Seconds that no row costs: the small run less its rows' share."""
        return self.seconds[0] - self.slope * self.rows[0] / 1e6


def pairs(runs: Iterable[Mapping[str, Any]], contender: str, workload: str) -> list[Pair]:
    """The rounds of which both sizes ran and gave the right answer."""
    rounds: dict[int, dict[int, Mapping[str, Any]]] = defaultdict(dict)
    for run in runs:
        if (run["contender"], run["workload"], run["ok"]) == (contender, workload, True):
            rounds[run["round"]][run["rows"]] = run
    found = []
    for number, by_rows in sorted(rounds.items()):
        if len(by_rows) == 2:
            small, large = (by_rows[rows] for rows in sorted(by_rows))
            found.append(
                Pair(
                    number,
                    (small["rows"], large["rows"]),
                    (small["seconds"], large["seconds"]),
                    (small["worker_mb"], large["worker_mb"]),
                    (small["cpu_s"], large["cpu_s"]),
                )
            )
    return found


def summary(contender: str, workload: str, found: list[Pair]) -> dict[str, Any]:
    """An entry of cpu.json: medians over the pairs, with the least and the most."""
    slopes, fixed = [p.slope for p in found], [p.fixed for p in found]
    rows = found[0].rows
    memory = [median(p.worker_mb[size] for p in found) for size in (0, 1)]
    return {
        "contender": contender,
        "workload": workload,
        "slope_s_per_mrow": round(median(slopes), 4),
        "slope_spread": [round(min(slopes), 4), round(max(slopes), 4)],
        "cpu_slope_s_per_mrow": round(median(p.cpu_slope for p in found), 4),
        "fixed_s": round(median(fixed), 2),
        "fixed_spread": [round(min(fixed), 2), round(max(fixed), 2)],
        "peak_rss_mb": memory[1],
        "peak_rss_mb_by_rows": {str(r): m for r, m in zip(rows, memory, strict=True)},
        "seconds_by_rows": {
            str(rows[size]): round(median(p.seconds[size] for p in found), 2) for size in (0, 1)
        },
        "runs": len(found),
    }


def ratios(one: list[Pair], other: list[Pair]) -> tuple[float, float, float]:
    """(median, least, most) of ``one``'s slope over ``other``'s in the same round."""
    slopes = {pair.round: pair.slope for pair in other}
    found = [pair.slope / slopes[pair.round] for pair in one if pair.round in slopes]
    if not found:
        return (float("nan"),) * 3
    return median(found), min(found), max(found)
