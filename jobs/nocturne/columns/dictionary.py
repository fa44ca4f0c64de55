"""Dictionaries of batches, which often are the one of the batch before, with a few words more."""

from __future__ import annotations

import pyarrow as pa

__all__ = ["begins_with"]


def begins_with(words: pa.Array, earlier: pa.Array | None) -> bool:
    """Whether the first words are those of an earlier dictionary, in the same order.

    They then have the same indices, so that what is known of them still holds.
    """
    return (
        earlier is not None
        and len(words) >= len(earlier)
        and bool(words.slice(0, len(earlier)).equals(earlier))
    )
