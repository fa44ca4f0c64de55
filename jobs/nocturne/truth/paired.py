"""The same rows scored by two models: what one is better by, and how sure that is."""

from __future__ import annotations

import math
from typing import Any

from nocturne.records.truth import Difference
from nocturne.truth.bootstrap import interval
from nocturne.truth.curves import SURE
from nocturne.truth.tally import KINDS, Kind

__all__ = ["Paired"]


class Paired:
    """Rows that two models scored, added chunk by chunk, in bounded memory.

    The difference is that of two tallies of all rows. What the models have in common on the same
    rows does not widen its interval: for the AUC of unweighted rows it is by DeLong's covariance of
    correlated curves, else by a bootstrap that draws the same rows for both. Above
    ``bootstrap.SAMPLE`` rows both look at a sample, for as many rows as there were.

    Args:
        threshold, quantile, seed: as of ``Tally``.
    """

    def __init__(
        self, kind: Kind, *, threshold: float = 0.5, quantile: float | None = None, seed: int = 0
    ) -> None:
        self._rows = KINDS[kind](2, threshold, quantile, seed, None)

    def add(self, champion: Any, challenger: Any, actual: Any, weights: Any | None = None) -> None:
        """Adds rows: [n] each, as ``Tally.add`` takes them."""
        self._rows.add([champion, challenger], actual, weights)

    def figures(self) -> dict[str, Difference]:
        """Challenger less champion, of each figure that is defined for both."""
        champion, challenger = self._rows.values()
        strayed, other = self._rows.deviations()
        error = self._rows.auc_error()
        found = {}
        for name in champion:
            if name in _SAME or name not in challenger:
                continue
            value = challenger[name] - champion[name]
            ends = None
            if name == "auc" and error is not None:
                ends = value - SURE * error, value + SURE * error
            elif name in strayed and name in other:
                ends = interval(value, other[name] - strayed[name])
            if math.isfinite(value):
                found[name] = Difference(value, *(ends or (None, None)))
        return found


_SAME = {"rows", "positive", "auc_error", "average_precision_error"}
"""Of the rows, and not of a model."""
