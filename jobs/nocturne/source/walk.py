"""Which files are data: one answer for readiness, fingerprints, ``nocturne init`` and both readers.

Every entry below a folder is data, or hidden by Spark's rule, or stops the night by name: nothing
that somebody may have meant as data is left out in silence, and nothing is read twice. Links to
files and folders are followed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

from nocturne.errors import InputError, NotReady, printable
from nocturne.source.lakes import acid, broken_off, refuse_at, refuse_lake, replaced, uncommitted

__all__ = [
    "as_pattern",
    "data_files",
    "entries",
    "hidden",
    "identity",
    "listing",
    "path_keys",
    "present",
]

_UNDER_WAY = ("._COPYING_", ".partial", ".filepart", ".crdownload", ".tmp")
"""Ends of names while a file is written: by hdfs, rclone, WinSCP, browsers, and by whoever
renames what is complete. Spark leaves the first out, and so would lose the rows."""

_BACKUPS = (".bak", ".backup", ".old", ".orig", "~")
"""Ends of names of what somebody put aside: most likely its rows are there a second time."""

_SUMMARIES = ("_metadata", "_common_metadata")


def hidden(name: str) -> bool:
    """Whether Spark takes an entry of this name for no data.

    As ``HadoopFSUtils.shouldFilterOutPathName`` and ``PartitioningAwareFileIndex.isDataPath``:
    ``_SUCCESS``, ``_metadata`` and ``.part-0.crc`` are hidden, ``_region=eu`` is not.
    """
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def present(folder: Path) -> bool:
    """Whether the folder is there; False only if nothing of this name is.

    Raises:
        InputError: it is no folder, a link to nothing, or can't be looked at.
    """
    try:
        mode = folder.stat().st_mode
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not folder.is_symlink():
            return False
        raise InputError(f"{printable(folder)} {_unseen(folder, error)}") from None
    if not stat.S_ISDIR(mode):
        raise InputError(f"{printable(folder)} is no folder; expected one that holds data files")
    return True


def entries(folder: Path) -> list[str]:
    """The names of all that lies in ``folder``, sorted.

    Raises:
        InputError: it can't be listed.
    """
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise InputError(f"{printable(folder)} {_unseen(folder, error)}") from None


def data_files(folder: Path) -> list[Path]:
    """Every data file below the folder, sorted by name.

    Raises:
        InputError: an entry can't be read or is neither data nor hidden; a file is there under
            two names; the folder belongs to a table whose log decides which files count.
        NotReady: a file is still being written.
    """
    refuse_lake(folder)
    if not present(folder):
        raise InputError(
            f"{printable(folder)} is not there; check input.path and input.tables",
            path=str(folder),
        )
    found: list[Path] = []
    real = Path(os.path.realpath(folder))
    todo = [(folder, frozenset(map(identity, real.parents)))]
    met: dict[tuple[int, int], Path] = {}
    while todo:
        at, above = todo.pop()
        here = identity(at)
        if here in above:
            raise InputError(
                f"{printable(at)} leads back to a folder that it lies in, so its files have no "
                "end. Remove the link"
            )
        other = met.setdefault(here, at)
        if other is not at:  # at once: links to links make twice as many paths on each level
            raise InputError(
                f"{printable(at)} and {printable(other)} are one folder under two names (a link), "
                "so its rows would be scored twice. Remove the link, or make it a copy if the rows "
                "are to be there twice"
            )
        files, folders = listing(at)
        found += files
        todo += [(inner, above | {here}) for inner in folders]
    return _distinct(sorted(found))


def listing(folder: Path) -> tuple[list[Path], list[Path]]:
    """The data files and the folders that lie directly in ``folder``, each sorted by name.

    Raises:
        InputError, NotReady: as ``data_files``.
    """
    refuse_at(folder)
    if folder.is_symlink():
        refuse_lake(Path(os.path.realpath(folder)))
    names = entries(folder)
    files, folders = list[Path](), list[Path]()
    refused, waiting = replaced(folder, names), list[str]()
    for name in uncommitted(names):
        if why := broken_off(folder, name, names):
            refused.append((name, why))
        else:
            waiting.append(name)
    for name in names:
        path = folder / name
        if name == "_temporary" or (name.endswith(_UNDER_WAY) and not hidden(name)):
            waiting.append(name)
        elif hidden(name):
            if name.startswith(_SUMMARIES) and path.is_dir():
                refused.append((name, "a folder with the name of a marker; rename or remove it"))
        elif name.lower().endswith(_BACKUPS) and "=" not in name:
            refused.append((name, "has the name of a backup copy; move it out, or rename it"))
        elif problem := _problem(path, folders, files):
            refused.append((name, problem))
    for path in {Path(os.path.realpath(p)).parent: p for p in files if p.is_symlink()}.values():
        refuse_lake(path)
    if refused:
        shown = "\n  ".join(f"{printable(name)}: {why}" for name, why in refused[:20])
        more = f"\n  and {len(refused) - 20} more" if len(refused) > 20 else ""
        raise InputError(f"{printable(folder)} holds what can't be taken as data:\n  {shown}{more}")
    if waiting:
        raise NotReady(
            f"{printable(folder)} is still being written: it has "
            f"{', '.join(map(printable, waiting[:5]))}{', ...' if len(waiting) > 5 else ''}; run "
            "this again when its writer is done, or remove what a broken off writer left"
        )
    return files, folders


def _problem(path: Path, folders: list[Path], files: list[Path]) -> str | None:
    """Why an entry can't be taken; None if it now is one of the folders or files."""
    try:
        path.name.encode()
        status = path.stat()
    except UnicodeEncodeError:
        return "the name is not UTF-8; rename it"
    except OSError as error:
        return _unseen(path, error)
    if stat.S_ISDIR(status.st_mode):
        if why := acid(path.name):
            return why
        folders.append(path)
    elif not stat.S_ISREG(status.st_mode):
        return "neither a file nor a folder; remove it"
    elif status.st_size or not path.name.endswith("_$folder$"):  # such a marker Hadoop leaves on S3
        files.append(path)
    return None


def _unseen(path: Path, error: OSError) -> str:
    """What an error of the file system means for what is at ``path``."""
    with suppress(OSError):  # of no link
        to = printable(path.readlink())
        return f"is a link to {to}, which can't be reached ({error.strerror}); mend it or remove it"
    return f"can't be read: {error.strerror}. The user that runs Nocturne must be able to"


def _distinct(files: list[Path]) -> list[Path]:
    """Raises: InputError if two are one, so that its rows would be read twice."""
    seen: dict[tuple[int, int], Path] = {}
    for path in files:
        other = seen.setdefault(identity(path), path)
        if other is not path:
            raise InputError(
                f"{path} and {other} are one file (a link), so its rows would be scored twice. "
                "Remove one of them, or make it a copy if the rows are to be there twice"
            )
    return files


def identity(path: Path) -> tuple[int, int]:
    """What tells files and folders apart, whatever their names are.

    Raises:
        InputError: it can't be looked at.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise InputError(f"{printable(path)} {_unseen(path, error)}") from None
    return found.st_dev, found.st_ino


def path_keys(files: Iterable[str]) -> tuple[str, ...]:
    """The keys of ``region=eu/store=1/part-0`` if all relative paths have the same, else none."""
    found = set()
    for file in files:
        folders = file.split("/")[:-1]
        keys = [part.partition("=") for part in takewhile(lambda part: "=" in part, folders)]
        rest = folders[len(keys) :]
        whole = all(name and value for name, _, value in keys)  # Spark refuses "=1" and "region="
        names = tuple(name for name, _, _ in keys)
        found.add(names if whole and not any("=" in part for part in rest) else ())
    return found.pop() if len(found) == 1 else ()


def as_pattern(path: Path) -> str:
    """A path for Spark, which takes it for a pattern: a backslash takes a character as it is."""
    return "".join(f"\\{letter}" if letter in "\\{}[]*?" else letter for letter in str(path))
