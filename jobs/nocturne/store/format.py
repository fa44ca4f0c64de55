"""The format of a pipeline's state: ``format.json`` in its root.

A state of an earlier format can be read. It is marked with this format once this Nocturne writes
what an earlier one can't read, and not by looking at it.
"""

from __future__ import annotations

from pathlib import Path

from nocturne.codec import STATE_FORMAT, Format
from nocturne.errors import StateError, WrittenByNewer
from nocturne.store.record_files import find, read, write

__all__ = ["claim", "is_new", "raise_format"]

_FIRST = 2
"""The earliest format whose records can be read."""


def _marker(root: Path) -> Path:
    return root / "format.json"


def is_new(root: Path) -> bool:
    """Whether the state says of no format yet that it is."""
    return not _marker(root).exists()


def claim(root: Path) -> None:
    """Mark a new state with this format, or check that this Nocturne can read what is there.

    Raises:
        WrittenByNewer: the state is of a newer format.
        StateError: the state is of a format that is too old, or its mark is damaged.
        OSError: the mark can't be written.
    """
    marker = _marker(root)
    if is_new(root):
        write(marker, Format(STATE_FORMAT), exclusive=True)
    format_ = read(Format, marker).format
    if format_ > STATE_FORMAT:
        raise WrittenByNewer(
            f"{marker} says format {format_}, this version reads up to {STATE_FORMAT}; use the "
            "version of Nocturne that wrote it, or another output.path"
        )
    if format_ < _FIRST:
        raise StateError(
            f"{marker} says format {format_}, this version reads from {_FIRST} to {STATE_FORMAT}. "
            f"{Format.mend}"
        )


def raise_format(root: Path) -> None:
    """Mark a state of an earlier format with this one, before this Nocturne writes into it."""
    known = find(Format, _marker(root))
    if known is not None and known.format < STATE_FORMAT:
        write(_marker(root), Format(STATE_FORMAT))
