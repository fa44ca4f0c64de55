"""Copies files of a pipeline's state to another place. What is there already stays as it is.

Nothing is a link to the old place: that stays as it is too, and may be removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nocturne.objects import Location, ObjectPath, relative
from nocturne.objects.together import TRANSFERS, together
from nocturne.store.files import place, write_atomic

__all__ = ["below", "copy_files", "copy_records"]


def below(folder: Location) -> Mapping[str, Location]:
    """The files below a folder, by their names in it."""

    def found() -> Iterator[Location]:
        if isinstance(folder, ObjectPath):
            yield from folder.below()
        elif folder.is_dir():
            yield from (path for path in folder.rglob("*") if path.is_file())

    return {relative(path, folder): path for path in found()}


def copy_records(files: Mapping[str, Location], folder: Location) -> None:
    """Copy small files, each only if there is none: the same run may be scored there just now."""

    def copy(name: str) -> None:
        write_atomic(folder / name, files[name].read_bytes(), exclusive=True, durable=True)

    together(copy, files.keys() - below(folder).keys())


def copy_files(files: Mapping[str, Location], folder: Location) -> None:
    """Copy the files that the folder lacks; each comes whole, and none is ever changed."""
    missing = [*files.keys() - below(folder).keys()]
    together(lambda name: place(files[name], folder / name, link=False), missing, at_once=TRANSFERS)
