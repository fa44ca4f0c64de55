"""How a challenger's scores compare with the champion's, in counts that add up."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

from nocturne.codec import Stored

__all__ = ["FIGURES", "Comparison", "Pair"]


@dataclass(frozen=True)
class Pair:
    """The two scores of a row, and its keys as text."""

    keys: tuple[str, ...]
    champion: float
    challenger: float


@dataclass(frozen=True)
class Comparison(Stored):
    """Of rows that both have scored; ``only_champion`` and ``only_challenger`` count the others.

    Attributes:
        rows: that both have scored.
        same: on which both scores are equal.
        champion, challenger: the means, in float64.
        champion_squares, challenger_squares: sums of squared distances from the means.
        products: the sum of the products of both distances.
        absolute, squared: sums of the absolute and of the squared differences of the two.
        above: rows on which both are at or above the threshold, the champion alone, the challenger
            alone, and neither; () without a threshold.
        joint: "champion's bin,challenger's bin" -> rows; ``nocturne.profile.comparing`` has the
            bins.
        top: the most that is kept of the rows with the greatest scores, and of those that differ
            most.
        greatest: the rows with the greatest scores of the champion, and of the challenger.
        farthest: the rows that differ most.
        segments: "column=value" -> the same of its rows, without rows by name.
        centers: around which the bins of ``joint`` lie; None if parts had others, and no ``joint``.
        champion_s, challenger_s: the seconds that each took for its rows.
    """

    ON_ONE_LINE: ClassVar[bool] = True
    mend: ClassVar[str] = "Score the partition again with --force"

    threshold: float | None
    top: int
    rows: int = 0
    same: int = 0
    only_champion: int = 0
    only_challenger: int = 0
    champion: float = 0.0
    challenger: float = 0.0
    champion_squares: float = 0.0
    challenger_squares: float = 0.0
    products: float = 0.0
    absolute: float = 0.0
    squared: float = 0.0
    above: tuple[int, ...] = ()
    joint: dict[str, int] = field(default_factory=dict)
    greatest: tuple[tuple[Pair, ...], tuple[Pair, ...]] = ((), ())
    farthest: tuple[Pair, ...] = ()
    segments: dict[str, Comparison] = field(default_factory=dict)
    centers: tuple[float, float] | None = (0.0, 0.0)
    champion_s: float = 0.0
    challenger_s: float = 0.0

    def named(self, partition: str, segments: dict[str, Comparison]) -> Comparison:
        """With the partition before the keys of its rows, and with segments."""

        def of(pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
            return tuple(replace(pair, keys=(partition, *pair.keys)) for pair in pairs)

        first, second = self.greatest
        return replace(
            self,
            segments=segments,
            greatest=(of(first), of(second)),
            farthest=of(self.farthest),
        )


FIGURES = {
    "rows": "rows with both scores",
    "only_champion": "with the champion's alone",
    "only_challenger": "with the challenger's alone",
    "mean_champion": "mean, champion",
    "mean_challenger": "mean, challenger",
    "mean_absolute_difference": "mean absolute difference",
    "root_mean_squared_difference": "root mean squared difference",
    "equal": "equal scores, share",
    "correlation": "correlation",
    "rank_correlation": "rank correlation",
    "rank_correlation_error": "  within",
    "agreement": "decided alike, share",
    "top_overlap": "greatest scores shared",
    "champion_s_per_million": "s per million rows, champion",
    "challenger_s_per_million": "s per million rows, challenger",
}
"""The figures of a comparison, in words."""
