"""Counts of words in Arrow: with many of them, a dict of Python's takes longer than the model."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = ["WordCounts", "frequent"]

Counts = NDArray[np.int64]

_TEXT = pa.large_string()


class WordCounts:
    """Words with their counts; the same word may have been added several times."""

    def __init__(self) -> None:
        self._parts: list[tuple[pa.Array, Counts]] = []
        self.added = 0
        self._merged = False

    def add(self, values: pa.Array, counts: Counts) -> None:
        """Add values [n] and their counts [n]; null is not counted. What is no text is as ``str``
        has it."""
        if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
            values = pa.array(list(map(str, values.to_pylist())), _TEXT)
        if values.null_count:  # a dictionary may hold one
            counts = counts[values.is_valid().to_numpy(zero_copy_only=False)]
            values = values.drop_null()
        self._parts.append((values.cast(_TEXT), counts))
        self.added += len(values)
        self._merged = False

    def each(self) -> tuple[pa.Array, Counts]:
        """Each word once, in the order in which they were added first, and its count."""
        if not self._merged:
            words = pa.concat_arrays([words for words, _ in self._parts] or [pa.array([], _TEXT)])
            counts = np.concatenate([np.zeros(0, np.int64), *(counts for _, counts in self._parts)])
            found = words.dictionary_encode()
            words = found.dictionary
            total = np.zeros(len(words), np.int64)
            np.add.at(total, found.indices.to_numpy(), counts)
            self._parts = [(words, total)]
            self.added, self._merged = len(words), True
        return self._parts[0]

    def keep(self, which: NDArray[np.bool_]) -> None:
        """Drop the words of ``each`` for which ``which`` is false."""
        words, counts = self.each()
        self._parts = [(words.filter(pa.array(which)), counts[which])]
        self.added = len(self._parts[0][0])


def frequent(words: pa.Array, counts: Counts, most: int) -> NDArray[np.bool_]:
    """[n]: whether a word is one of the ``most`` most frequent; of equally frequent ones, the first
    by name."""
    if len(words) <= most:
        return np.ones(len(words), np.bool_)
    least = np.partition(counts, -most)[-most]
    chosen: NDArray[np.bool_] = counts > least
    ties = np.flatnonzero(counts == least)
    room = most - int(chosen.sum())
    chosen[ties[pc.bottom_k_unstable(words.take(pa.array(ties)), room).to_numpy()]] = True
    return chosen
