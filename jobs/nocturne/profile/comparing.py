"""Compares the scores of a challenger with the champion's while both are made.

What is counted adds up over batches, splits and nights. Sums are exact but for float64; so are the
rows by name. Ranks come from a joint histogram, whose bins are those of the first bits of a float32
(sign, exponent, five bits of the fraction: 32 bins for each factor of 2) of the distance from a
centre, so that they are the same in every split, and fine where most scores are.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nocturne.profile.pair_loops import JointTable, sums_of
from nocturne.records.comparison import Comparison, Pair

__all__ = [
    "FARTHEST",
    "Comparer",
    "Rank",
    "figures",
    "merged",
    "pearson",
    "spearman",
    "top_overlap",
]

FARTHEST = 20
"""The rows that differ most, of which this many are kept."""

_LARGEST = 1e100
"""Float64 holds the sum of the squares of scores up to this."""

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


class Comparer:
    """Counts the scores of two arms.

    Args:
        threshold: the decision threshold; None if there is none.
        top: how many of the greatest scores are compared.
        centers: around which the bins of both lie.
    """

    def __init__(
        self, threshold: float | None, top: int, centers: tuple[float, float] = (0.0, 0.0)
    ) -> None:
        self._centers = centers
        above = () if threshold is None else (0, 0, 0, 0)
        self._found = Comparison(threshold, top, above=above, centers=centers)
        self._too_large = False
        self._named = _Largest(top), _Largest(top), _Largest(FARTHEST)
        self._joint = JointTable()
        self._cells: list[Whole] = []
        """Cells of the joint histogram that its table had no room for."""

    def update(
        self, champion: pa.Array, challenger: pa.Array, keys: Sequence[pa.Array] = ()
    ) -> None:
        """Count rows.

        Args:
            champion, challenger: scores [n]; null where there is none.
            keys: the columns [n] that name a row; without them no row is kept by name.
        """
        if self._too_large:
            return
        at: NDArray[np.intp] | None = None
        alone = 0, 0
        if champion.null_count or challenger.null_count:
            valid = (column.is_valid() for column in (champion, challenger))
            there, also = (column.to_numpy(zero_copy_only=False) for column in valid)
            at = np.flatnonzero(there & also)
            alone = int((there & ~also).sum()), int((also & ~there).sum())
        a, b = (_floats(c) if at is None else _floats(c)[at] for c in (champion, challenger))
        found = Comparison(
            self._found.threshold,
            self._found.top,
            only_champion=alone[0],
            only_challenger=alone[1],
            above=() if self._found.threshold is None else (0, 0, 0, 0),
            centers=self._centers,
        )
        if len(a):
            sums, counts = np.empty(8), np.empty(8, np.int64)
            places = np.empty((3, len(a)), np.int64)
            threshold = math.nan if self._found.threshold is None else self._found.threshold
            bounds = [side.bound if keys else math.inf for side in self._named]
            bounds[2] = max(bounds[2], 0.0)  # equal scores are not apart
            sums_of(a, b, threshold, np.array(bounds), sums, counts, places)
            if sums[7] > _LARGEST:
                self._too_large = True
                return
            found = replace(found, rows=len(a), same=int(counts[0]), **_named_sums(sums))
            if self._found.threshold is not None:
                found = replace(found, above=tuple(map(int, counts[1:5])))
            if (taken := self._joint.add(a, b, self._centers)).shape[1]:
                self._cells.append(taken)
            for place, side in enumerate(self._named):
                rows = places[place, : counts[5 + place]]
                names = [key.take(pa.array(rows if at is None else at[rows])) for key in keys]
                first, second = a[rows], b[rows]
                by = (first, second, np.abs(first - second))[place]
                side.add(by, first, second, names)
        self._found = _added(self._found, found)

    def result(self) -> Comparison | None:
        """What was counted so far; None if a score was too large for its square."""
        if self._too_large:
            return None
        parts = [
            {f"{x},{y}": rows for x, y, rows in zip(*cells.tolist(), strict=True)}
            for cells in (*self._cells, self._joint.read())
        ]
        joint = parts[0] if len(parts) == 1 else dict(sum(map(Counter, parts), Counter[str]()))
        first, second, apart = (side.pairs() for side in self._named)
        return replace(self._found, joint=joint, greatest=(first, second), farthest=apart)


class _Largest:
    """The rows with the largest numbers, in order, and of equal ones the first; by their keys.

    Args:
        most: how many.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._by = np.empty(0)
        self._scores = np.empty((2, 0))
        self._keys: list[pa.Array] = []

    @property
    def bound(self) -> float:
        """What a row must be above to be kept."""
        if not self._most:
            return math.inf
        return float(self._by[-1]) if len(self._by) == self._most else -math.inf

    def add(self, by: Floats, a: Floats, b: Floats, keys: Sequence[pa.Array]) -> None:
        """Keep what is large enough of rows [n] with the scores ``a`` and ``b``."""
        if not len(by):
            return
        numbers = np.concatenate([self._by, by])
        enough = np.arange(len(numbers))
        if len(numbers) > self._most:  # to sort a few takes a tenth of the time
            enough = np.flatnonzero(numbers >= np.partition(numbers, -self._most)[-self._most])
        kept = enough[np.argsort(-numbers[enough], kind="stable")][: self._most]
        self._by = numbers[kept]
        self._scores = np.concatenate([self._scores, [a, b]], axis=1)[:, kept]
        both = [pa.concat_arrays(k) for k in zip(self._keys or _empty(keys), keys, strict=True)]
        self._keys = [key.take(pa.array(kept)) for key in both]

    def pairs(self) -> tuple[Pair, ...]:
        keys = zip(*(key.to_pylist() for key in self._keys), strict=True)
        scores = zip(*self._scores.tolist(), strict=True)
        return tuple(
            Pair(tuple(map(str, key)), *pair) for key, pair in zip(keys, scores, strict=True)
        )


def _empty(keys: Sequence[pa.Array]) -> list[pa.Array]:
    return [key.slice(0, 0) for key in keys]


def _floats(column: pa.Array) -> Floats:
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)


def _named_sums(sums: Floats) -> dict[str, Any]:
    names = ("champion", "challenger", "champion_squares", "challenger_squares", "products")
    return dict(zip((*names, "absolute", "squared"), sums[:7].tolist(), strict=True))


def merged(parts: Iterable[Comparison]) -> Comparison | None:
    """One comparison of all rows, of parts in order; None without parts."""
    found = list(parts)
    return reduce(_added, found) if found else None


def _added(one: Comparison, other: Comparison) -> Comparison:
    """Both together; means and squares as by Chan, Golub and LeVeque (1979)."""
    rows = one.rows + other.rows
    share = other.rows / rows if rows else 0.0
    da, db = other.champion - one.champion, other.challenger - one.challenger
    weight = one.rows * share
    segments = {
        name: _added(*pair) if len(pair) == 2 else pair[0]
        for name in {**one.segments, **other.segments}
        if (pair := [c.segments[name] for c in (one, other) if name in c.segments])
    }
    top = min(one.top, other.top)
    greatest = (
        _kept((*one.greatest[0], *other.greatest[0]), top, lambda p: p.champion),
        _kept((*one.greatest[1], *other.greatest[1]), top, lambda p: p.challenger),
    )
    farthest = _kept(
        (*one.farthest, *other.farthest), FARTHEST, lambda p: abs(p.champion - p.challenger)
    )
    alike = one.threshold == other.threshold
    in_bins = one.centers == other.centers and one.centers is not None
    return Comparison(
        one.threshold if alike else None,
        top,
        rows=rows,
        same=one.same + other.same,
        only_champion=one.only_champion + other.only_champion,
        only_challenger=one.only_challenger + other.only_challenger,
        champion=one.champion + da * share,
        challenger=one.challenger + db * share,
        champion_squares=one.champion_squares + other.champion_squares + da * da * weight,
        challenger_squares=one.challenger_squares + other.challenger_squares + db * db * weight,
        products=one.products + other.products + da * db * weight,
        absolute=one.absolute + other.absolute,
        squared=one.squared + other.squared,
        above=tuple(x + y for x, y in zip(one.above, other.above, strict=True)) if alike else (),
        joint=dict(Counter(one.joint) + Counter(other.joint)) if in_bins else {},
        centers=one.centers if in_bins else None,
        greatest=greatest,
        farthest=farthest,
        segments=segments,
        champion_s=one.champion_s + other.champion_s,
        challenger_s=one.challenger_s + other.challenger_s,
    )


def _kept(pairs: Sequence[Pair], most: int, by: Callable[[Pair], float]) -> tuple[Pair, ...]:
    return tuple(sorted(pairs, key=lambda pair: -by(pair))[:most])


def pearson(found: Comparison) -> float | None:
    """The correlation of both scores; None if one of them does not vary."""
    spread = found.champion_squares * found.challenger_squares
    return found.products / math.sqrt(spread) if spread > 0 else None


@dataclass(frozen=True)
class Rank:
    """A rank correlation, which is within ``error`` of that of the scores themselves."""

    value: float
    error: float


def spearman(found: Comparison) -> Rank | None:
    """Spearman's rank correlation from the joint histogram; None if it is undefined.

    Every row gets the middle rank of its bin. With ``w`` and ``v`` the shares of the ranks'
    variance that lie within the bins of the two arms, what that leaves out is at most sqrt(w) +
    sqrt(v) + sqrt(w v), by the inequality of Cauchy and Schwarz. The variance is that of ranks
    without ties; where many scores are equal, the value is too near 0.
    """
    cells = [(*map(int, cell.split(",")), rows) for cell, rows in found.joint.items()]
    total = found.rows
    if total < 2 or not cells:
        return None
    sides: tuple[Counter[int], Counter[int]] = Counter(), Counter()
    for i, j, rows in cells:
        sides[0][i] += rows
        sides[1][j] += rows
    if min(map(len, sides)) < 2:
        return None
    first, second = (_middles(side) for side in sides)
    products = math.fsum(rows * first[i] * second[j] for i, j, rows in cells)
    variance = (total**2 - 1) / 12
    within = [
        math.sqrt(sum(n * (n**2 - 1) / 12 for n in side.values()) / (total * variance))
        for side in sides
    ]
    error = within[0] + within[1] + within[0] * within[1]
    value = products / (total * variance)
    return Rank(max(-1.0, min(1.0, value)), min(2.0, error))


def _middles(side: Counter[int]) -> dict[int, float]:
    """Bin -> the middle of its ranks, less the middle of all ranks."""
    below, found = -side.total() / 2, dict[int, float]()
    for bin_ in sorted(side):
        found[bin_] = below + side[bin_] / 2
        below += side[bin_]
    return found


def top_overlap(found: Comparison) -> float | None:
    """The share of the champion's greatest scores that are among the challenger's greatest."""
    champion, challenger = ({pair.keys for pair in side} for side in found.greatest)
    return len(champion & challenger) / len(champion) if champion else None


def figures(found: Comparison) -> dict[str, float | int | None]:
    """What a comparison says, by name; None where it is undefined."""
    rows, rank = found.rows, spearman(found)
    counts = {"rows": rows, "only_champion": found.only_champion}
    counts["only_challenger"] = found.only_challenger
    if not rows:
        return dict(counts)
    return counts | {
        "equal": found.same / rows,
        "mean_champion": found.champion,
        "mean_challenger": found.challenger,
        "mean_absolute_difference": found.absolute / rows,
        "root_mean_squared_difference": math.sqrt(found.squared / rows),
        "correlation": pearson(found),
        "rank_correlation": rank.value if rank else None,
        "rank_correlation_error": rank.error if rank else None,
        "agreement": (found.above[0] + found.above[3]) / rows if found.above else None,
        "top_overlap": top_overlap(found),
        "champion_s_per_million": found.champion_s / rows * 1e6 or None,
        "challenger_s_per_million": found.challenger_s / rows * 1e6 or None,
    }
