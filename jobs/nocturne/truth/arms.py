"""What counts the rows that one or several models scored, for each kind of label."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from nocturne.truth.probabilities import Bin
from nocturne.truth.rows import Floats

__all__ = ["Arms"]


class Arms(ABC):
    """Rows with a label, and a prediction of each of several models (arms).

    Args: as of ``Tally``; ``arms``: how many models.
    """

    def __init__(
        self, arms: int, threshold: float, quantile: float | None, seed: int, exact: int | None
    ) -> None:
        self._arms = arms
        self._threshold = threshold
        self._quantile = quantile
        self._seed = seed
        self._rows = 0

    @abstractmethod
    def add(self, predicted: Sequence[Any], actual: Any, weights: Any | None) -> None:
        """Adds rows: [n] for each arm, [n], [n]. Raises: InputError for what can't be counted."""

    @abstractmethod
    def values(self) -> list[dict[str, float]]:
        """The figures of each arm; NaN where not defined."""

    @abstractmethod
    def deviations(self) -> list[dict[str, Floats]]:
        """What figures of each arm stray in replicates of the bootstrap; empty of a single row."""

    def auc_error(self) -> float | None:
        """DeLong's standard error of the AUC, of two arms that of their difference."""
        return None

    def bins(self) -> list[Bin]:
        """The reliability diagram of the first arm."""
        return []
