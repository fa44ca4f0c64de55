"""A uniform sample of rows that come in chunks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Sample"]


class Sample:
    """The rows with the least of random numbers, one drawn for each row in its turn.

    So the sample depends on the seed and on the order of the rows, not on their chunks.
    """

    def __init__(self, most: int, seed: tuple[int, ...]) -> None:
        self._most = most
        self._random = np.random.default_rng(seed)
        self._kept: list[NDArray[Any]] | None = None
        self._limit = 1.0
        self.rows = 0

    @property
    def stands_for(self) -> float:
        """How many rows each of the sample stands for."""
        return max(1.0, self.rows / self._most)

    def add(self, *columns: NDArray[Any]) -> None:
        """Draws among rows: [n] each."""
        drawn = self._random.random(len(columns[0]))
        self.rows += len(drawn)
        near = drawn < self._limit
        new = [column[near] for column in (drawn, *columns)]
        if self._kept is not None:
            new = [np.concatenate(both) for both in zip(self._kept, new, strict=True)]
        if len(new[0]) > self._most:
            least = np.argsort(new[0])[: self._most]
            new = [column[least] for column in new]
            self._limit = float(new[0][-1])
        self._kept = new

    def read(self) -> list[NDArray[Any]]:
        """The columns of the sample, its rows in an order of chance; none before ``add``."""
        if self._kept is None:
            return []
        order = np.argsort(self._kept[0])
        return [column[order] for column in self._kept[1:]]
