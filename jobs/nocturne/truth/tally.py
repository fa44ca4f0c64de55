"""Figures of a part of the rows that a model scored."""

from __future__ import annotations

import math
from typing import Any, Literal

from nocturne.truth.arms import Arms
from nocturne.truth.bootstrap import interval
from nocturne.truth.classes import Classes
from nocturne.truth.curves import SURE
from nocturne.truth.multiclass import Multiclass
from nocturne.truth.numbers import Numbers
from nocturne.truth.probabilities import Bin

__all__ = ["KINDS", "Kind", "Tally"]

Kind = Literal["classes", "numbers", "multiclass"]
KINDS: dict[Kind, type[Arms]] = {"classes": Classes, "numbers": Numbers, "multiclass": Multiclass}
"""What labels can be, and what counts them, for one model or two."""


class Tally:
    """The rows of a part, added chunk by chunk, in bounded memory.

    All is exact for any number of rows but what needs the order of scores: that is exact until
    there are more than ``counts.EXACT`` distinct ones, above from rounded scores, the error stated
    (``auc_error``, ``average_precision_error``).

    Args:
        threshold: from which score on a row counts as said to be positive.
        quantile: of numbers, which one was predicted: adds ``pinball``.
        seed: of the bootstrap.
        exact: how many distinct scores are kept as they are; default: ``counts.EXACT``.
    """

    def __init__(
        self,
        kind: Kind,
        *,
        threshold: float = 0.5,
        quantile: float | None = None,
        seed: int = 0,
        exact: int | None = None,
    ) -> None:
        self._rows = KINDS[kind](1, threshold, quantile, seed, exact)

    def add(self, predicted: Any, actual: Any, weights: Any | None = None) -> None:
        """Adds rows.

        Args:
            predicted, actual: [n]; scores and booleans (``classes``), numbers, or Arrow strings
                (``multiclass``).
            weights: [n], as scikit-learn's ``sample_weight``; a row of weight 0 counts in ``rows``
                only.

        Raises:
            InputError: a number is not finite, a weight is negative, or a class is null.
        """
        self._rows.add([predicted], actual, weights)

    def figures(self, *, redraw: bool = True) -> dict[str, float]:
        """The figures by name, without those that are not defined.

        ``classes``: ``positive`` (share), ``auc``, ``average_precision``; and if all scores are
        probabilities ``brier``, ``log_loss``, ``calibration_error``, ``precision``, ``recall``,
        ``f1``, ``accuracy``. ``numbers``: ``mae``, ``rmse``, ``bias`` (mean of predicted less
        actual), ``r2``, ``pinball``. ``multiclass``: ``accuracy``, ``macro_f1``. The ends of 95%
        intervals are ``<name>_low`` and ``<name>_high``: of the AUC of unweighted rows DeLong's,
        else of Poisson bootstrap.

        Args:
            redraw: False: without the bootstrap, which takes a second or more for many rows.
        """
        [found] = self._rows.values()
        [strayed] = self._rows.deviations() if redraw else [{}]
        error = self._rows.auc_error()
        ends = {
            name: interval(found[name], strayed[name]) for name in strayed if name in _INTERVALS
        }
        if error is not None:
            ends["auc"] = found["auc"] - SURE * error, found["auc"] + SURE * error
        for name, end in ends.items():
            if end is not None:
                least, most = _RANGE.get(name, (0.0, math.inf))
                found[f"{name}_low"] = max(least, end[0])
                found[f"{name}_high"] = min(most, end[1])
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def bins(self) -> list[Bin]:
        """The reliability diagram, of ``classes`` whose scores are probabilities; else empty."""
        return self._rows.bins()


_INTERVALS = {
    "auc",
    "average_precision",
    "brier",
    "log_loss",
    "mae",
    "rmse",
    "bias",
    "pinball",
    "macro_f1",
    "accuracy",
}
"""Figures with an interval."""
_RANGE = {
    "bias": (-math.inf, math.inf),
    **dict.fromkeys(("auc", "average_precision", "brier", "macro_f1", "accuracy"), (0.0, 1.0)),
}
"""Between which values figures lie; others from 0 on."""
