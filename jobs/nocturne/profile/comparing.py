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

_DROPPED_BITS = 18
"""Of the 23 bits of a float32's fraction, those that do not choose the bin."""
_LARGEST = 1e100
"""Float64 holds the sum of the squares of scores up to this."""
_DENSE = 1 << 22
"""The most cells of a joint histogram that is counted as a table."""

_BATCHES = 64
_LOW = (1 << 32) - 1

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
        self._cells: list[tuple[Whole, Whole]] = []
        """The cells of the joint histogram, and the rows in each, of each batch."""

    def update(
        self, champion: pa.Array, challenger: pa.Array, keys: Sequence[pa.Array] = ()
    ) -> None:
        """Count rows.

        Args:
            champion, challenger: scores [n]; null where there is none.
            keys: the columns [n] that name a row; without them no row is kept by name.
        """
        there = champion.is_valid().to_numpy(zero_copy_only=False)
        also = challenger.is_valid().to_numpy(zero_copy_only=False)
        both = there & also
        a, b = (_floats(column)[both] for column in (champion, challenger))
        if len(a) and max(np.abs(a).max(), np.abs(b).max()) > _LARGEST:
            self._too_large = True
        if self._too_large:
            return
        found = Comparison(
            self._found.threshold,
            self._found.top,
            only_champion=int((there & ~also).sum()),
            only_challenger=int((also & ~there).sum()),
            above=self._above(a, b),
            centers=self._centers,
        )
        if len(a):
            found = replace(found, **_sums(a, b))
            self._cells.append(self._joint(a, b))
            if len(self._cells) > _BATCHES:
                self._cells = [_together(self._cells)]
        if len(a) and keys:
            found = replace(found, **self._named(a, b, np.flatnonzero(both), keys))
        self._found = _added(self._found, found)

    def result(self) -> Comparison | None:
        """What was counted so far; None if a score was too large for its square."""
        if self._too_large:
            return None
        cells, rows = _together(self._cells)
        pairs = zip((cells >> 32).tolist(), (cells & _LOW).tolist(), rows.tolist(), strict=True)
        joint = {f"{i},{j - (j >> 31 << 32)}": n for i, j, n in pairs}
        return replace(self._found, joint=joint)

    def _above(self, a: Floats, b: Floats) -> tuple[int, ...]:
        if (threshold := self._found.threshold) is None:
            return ()
        x, y = a >= threshold, b >= threshold
        return tuple(int(part.sum()) for part in (x & y, x & ~y, ~x & y, ~x & ~y))

    def _joint(self, a: Floats, b: Floats) -> tuple[Whole, Whole]:
        """The cells that have rows, both bins in one number, and their rows."""
        scores = zip((a, b), self._centers, strict=True)
        (x, bins_x), (y, bins_y) = (_numbered(_bins(v, center)) for v, center in scores)
        high = len(bins_y)
        cells = x * high + y
        if len(bins_x) * high <= _DENSE:
            counts = np.bincount(cells)
            used = np.flatnonzero(counts)
            counts = counts[used]
        else:
            used, counts = np.unique(cells, return_counts=True)
        return bins_x[used // high] << 32 | bins_y[used % high] & _LOW, counts

    def _named(
        self, a: Floats, b: Floats, at: NDArray[np.intp], keys: Sequence[pa.Array]
    ) -> dict[str, Any]:
        top, known = self._found.top, self._found

        def least(kept: Sequence[Pair], most: int, by: Callable[[Pair], float]) -> float:
            """What a row must be above to be kept: of equal ones the first are."""
            return by(kept[-1]) if 0 < most <= len(kept) else -math.inf

        def pairs(places: NDArray[np.intp]) -> tuple[Pair, ...]:
            columns = [key.take(pa.array(at[places])).to_pylist() for key in keys]
            return tuple(
                Pair(tuple(map(str, named)), float(a[i]), float(b[i]))
                for i, *named in zip(places.tolist(), *columns, strict=True)
            )

        bounds = (
            least(known.greatest[0], top, lambda pair: pair.champion),
            least(known.greatest[1], top, lambda pair: pair.challenger),
        )
        greatest = tuple(
            pairs(_largest(scores, top, bound))
            for scores, bound in zip((a, b), bounds, strict=True)
        )
        apart = np.abs(a - b)
        bound = least(known.farthest, FARTHEST, lambda p: abs(p.champion - p.challenger))
        return {
            "greatest": greatest,
            "farthest": pairs(_largest(apart, FARTHEST, max(bound, 0.0))),
        }


def _floats(column: pa.Array) -> Floats:
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)


def _bins(values: Floats, center: float) -> NDArray[np.int64]:
    """The bin of each value [n]; their order is that of the values."""
    bits = ((values - center).astype(np.float32) + np.float32(0)).view(np.int32).astype(np.int64)
    return np.asarray(np.where(bits < 0, ~(bits & 0x7FFFFFFF), bits) >> _DROPPED_BITS)


def _numbered(bins: Whole) -> tuple[Whole, Whole]:
    """The number of each value's bin among those that have values, and these."""
    low, high = int(bins.min()), int(bins.max())
    if high - low > _DENSE:
        used, numbers = np.unique(bins, return_inverse=True)
        return numbers, used
    places = bins - low
    used = np.flatnonzero(np.bincount(places))
    numbers = np.zeros(high - low + 1, np.int64)
    numbers[used] = np.arange(len(used))
    return numbers[places], used + low


def _sums(a: Floats, b: Floats) -> dict[str, Any]:
    mean_a, mean_b = float(a.mean()), float(b.mean())
    da, db, apart = a - mean_a, b - mean_b, a - b
    return {
        "rows": len(a),
        "same": int((a == b).sum()),
        "champion": mean_a,
        "challenger": mean_b,
        "champion_squares": float(da @ da),
        "challenger_squares": float(db @ db),
        "products": float(da @ db),
        "absolute": float(np.abs(apart).sum()),
        "squared": float(apart @ apart),
    }


def _largest(values: Floats, most: int, above: float) -> NDArray[np.intp]:
    """The places of the largest values above a bound, the largest and of equal ones the first."""
    places = np.flatnonzero(values > above) if most else np.zeros(0, np.intp)
    if len(places) > most:
        least = np.partition(values[places], -most)[-most]
        places = places[values[places] >= least]
    return np.asarray(places[np.argsort(-values[places], kind="stable")][:most])


def _together(cells: Sequence[tuple[Whole, Whole]]) -> tuple[Whole, Whole]:
    """Each cell once, with all of its rows."""
    if not cells:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    codes, at = np.unique(np.concatenate([c for c, _ in cells]), return_inverse=True)
    rows = np.zeros(len(codes), np.int64)
    np.add.at(rows, at, np.concatenate([n for _, n in cells]))
    return codes, rows


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
