"""The format of a pipeline's state: ``format.json`` in its root.

A state of an earlier format can be read. Reading does not change its mark; it gets the mark of this
format when this Nocturne first writes something that an earlier one can't read.
"""

from __future__ import annotations

from nocturne.codec import STATE_FORMAT, Format
from nocturne.errors import StateError, WrittenByNewer
from nocturne.objects import Location, ObjectPath
from nocturne.store.record_files import find, read, write

__all__ = ["claim", "is_new", "raise_format"]

_raised: set[Location] = set()
_FIRST = 2
"""The earliest format whose records can be read."""


def _marker(root: Location) -> Location:
    return root / "format.json"


def is_new(root: Location) -> bool:
    """Whether the state has no format mark yet."""
    return not _marker(root).is_file()


def claim(root: Location) -> None:
    """Mark a new state with this format, or check that this Nocturne can read an existing one.

    Raises:
        WrittenByNewer: the state has a newer format.
        StateError: the format of the state is too old, or its mark is damaged.
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


def raise_format(root: Location) -> None:
    """Mark a state of an earlier format with this one, before this Nocturne writes into it.

    A store is asked once in each process.
    """
    if root in _raised:
        return
    stored = find(Format, _marker(root))
    if stored is not None and stored.format < STATE_FORMAT:
        write(_marker(root), Format(STATE_FORMAT))
    if stored is not None and isinstance(root, ObjectPath):
        _raised.add(root)
