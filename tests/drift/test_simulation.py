"""Alarms that people can live with: a season of nights, simulated, on seeds drawn each time."""

from __future__ import annotations

import datetime as dt
import secrets
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from nocturne.drift import build_baseline, judge
from nocturne.records.buckets import bucket
from nocturne.records.profile import ColumnProfile, Profile

FEATURES, NIGHTS, SHIFTED, ROWS = 100, 70, 5, 1_000_000
FIRST = dt.date(2024, 1, 1)
_GRID = np.linspace(-6, 6, 1201)
_IDS = bucket(_GRID.astype(np.float32), 0.0)


@dataclass(frozen=True)
class Season:
    """70 nights of 100 normal features with a weekly season and autocorrelated noise."""

    means: NDArray[np.float64]
    rng: np.random.Generator

    @staticmethod
    def drawn(seed: int) -> Season:
        rng = np.random.default_rng(seed)
        noise = np.zeros((NIGHTS, FEATURES))
        for night in range(1, NIGHTS):
            noise[night] = 0.5 * noise[night - 1] + rng.normal(0, 0.01, FEATURES)
        weekend = np.array([(FIRST + dt.timedelta(n)).weekday() >= 5 for n in range(NIGHTS)])
        return Season(noise + weekend[:, None] * rng.uniform(0, 0.35, FEATURES), rng)

    def night(self, number: int, shift: float = 0) -> Profile:
        """Counts of a million rows, in the buckets that a worker would put them in."""
        columns = {}
        for feature in range(FEATURES):
            mean = self.means[number, feature] + (shift if feature < SHIFTED else 0)
            density = np.exp(-((_GRID - mean) ** 2) / 2)
            counts = self.rng.multinomial(ROWS, density / density.sum())
            ids, at = np.unique(_IDS, return_inverse=True)
            by_id = np.bincount(at, counts).astype(int)
            columns[f"f{feature:02}"] = ColumnProfile(
                kind="numeric",
                rows=ROWS,
                null=0,
                total=float(counts @ _GRID),
                total_squares=float(counts @ _GRID**2),
                counts={str(i): int(n) for i, n in zip(ids, by_id, strict=True) if n},
            )
        return Profile(ROWS, columns)


@pytest.mark.parametrize("_", [0, pytest.param(1, marks=pytest.mark.long)])
def test_shifted_nights_warn_and_ordinary_ones_do_not_page(_: int) -> None:
    seed = secrets.randbits(32)
    season = Season.drawn(seed)
    days = [FIRST + dt.timedelta(n) for n in range(NIGHTS)]
    baseline = build_baseline({days[n].isoformat(): season.night(n) for n in range(35)}, [])
    ordinary = [judge(season.night(n), baseline, floor=0.02, day=days[n]) for n in range(35, 70)]
    shifted = [
        judge(season.night(n, 0.25), baseline, floor=0.02, day=days[n]) for n in range(50, 70)
    ]
    assert sum(result.paged for result in ordinary) == 0, seed
    found = [
        {f.column for f in result.alarmed} & {f"f{i:02}" for i in range(SHIFTED)}
        for result in shifted
    ]
    assert sum(map(bool, found)) >= 0.95 * len(shifted), seed
    assert sum(map(len, found)) >= 0.9 * SHIFTED * len(shifted), seed
