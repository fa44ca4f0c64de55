"""Decides which files are data, for readiness, fingerprints, ``nocturne init`` and both readers.

Every entry below a folder is data, or is hidden by Spark's rule, or stops the night with an error
that names it. So possible data is never left out in silence, and nothing is read twice. Links to
files and folders are followed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

from nocturne.errors import InputError, NotReady, printable
from nocturne.objects import Location
from nocturne.source.lakes import (
    abandoned,
    hive_acid,
    refuse_at,
    refuse_lake,
    replaced_files,
    uncommitted,
)

__all__ = [
    "as_pattern",
    "data_files",
    "entries",
    "hidden",
    "identity",
    "judge",
    "listing",
    "path_keys",
    "present",
]

_UNDER_WAY = ("._COPYING_", ".partial", ".filepart", ".crdownload", ".tmp")
"""Suffixes of files that hdfs, rclone, WinSCP, browsers and other writers rename when they are
complete. Spark ignores ``._COPYING_``, and so would lose the rows."""

_BACKUPS = (".bak", ".backup", ".old", ".orig", "~")
"""Suffixes of backup copies, whose rows most likely exist a second time."""

_SUMMARIES = ("_metadata", "_common_metadata")


def hidden(name: str) -> bool:
    """Whether Spark ignores an entry of this name.

    As ``HadoopFSUtils.shouldFilterOutPathName`` and ``PartitioningAwareFileIndex.isDataPath``:
    ``_SUCCESS``, ``_metadata`` and ``.part-0.crc`` are hidden, ``_region=eu`` is not.
    """
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def present(folder: Path) -> bool:
    """Whether the folder exists; False only if nothing of this name does.

    Raises:
        InputError: it is not a folder, is a link to nothing, or can't be accessed.
    """
    try:
        mode = folder.stat().st_mode
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not folder.is_symlink():
            return False
        raise InputError(f"{printable(folder)} {_access_problem(folder, error)}") from None
    if not stat.S_ISDIR(mode):
        raise InputError(f"{printable(folder)} is not a folder; expected one that holds data files")
    return True


def entries(folder: Path) -> list[str]:
    """The names of all entries of ``folder``, sorted.

    Raises:
        InputError: it can't be listed.
    """
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise InputError(f"{printable(folder)} {_access_problem(folder, error)}") from None


def data_files(folder: Path) -> list[Path]:
    """Every data file below the folder, sorted by name.

    Raises:
        InputError: an entry can't be read, or is neither data nor hidden; a file has two names;
            the folder belongs to a table whose log decides which files count.
        NotReady: a file is still being written.
    """
    refuse_lake(folder)
    if not present(folder):
        raise InputError(
            f"{printable(folder)} is not there; check input.path and input.tables",
            path=str(folder),
        )
    files: list[Path] = []
    real = Path(os.path.realpath(folder))
    pending = [(folder, frozenset(map(identity, real.parents)))]
    visited: dict[tuple[int, int], Path] = {}
    while pending:
        inner, above = pending.pop()
        inner_id = identity(inner)
        if inner_id in above:
            raise InputError(
                f"{printable(inner)} leads back to a folder that it lies in, so its files have no "
                "end. Remove the link"
            )
        other = visited.setdefault(inner_id, inner)
        if other is not inner:  # do not go on: links to links double the paths on each level
            raise InputError(
                f"{printable(inner)} and {printable(other)} are one folder under two names (a "
                "link), so its rows would be scored twice. Remove the link, or make it a copy if "
                "the rows are to be there twice"
            )
        inner_files, inner_folders = listing(inner)
        files += inner_files
        pending += [(path, above | {inner_id}) for path in inner_folders]
    return _distinct(sorted(files))


def listing(folder: Path) -> tuple[list[Path], list[Path]]:
    """The data files and the folders directly in ``folder``, each sorted by name.

    Raises:
        InputError, NotReady: as ``data_files``.
    """
    refuse_at(folder)
    if folder.is_symlink():
        refuse_lake(Path(os.path.realpath(folder)))
    files, folders = list[Path](), list[Path]()

    def problem(name: str) -> str | None:
        return _problem(folder / name, folders, files)

    judge(folder, entries(folder), lambda name: (folder / name).is_dir(), problem)
    for path in {Path(os.path.realpath(p)).parent: p for p in files if p.is_symlink()}.values():
        refuse_lake(path)
    return files, folders


def judge(
    folder: Location,
    names: Sequence[str],
    is_folder: Callable[[str], bool],
    problem: Callable[[str], str | None],
) -> None:
    """Look at each of the ``names`` in a folder; those of possible data are given to ``problem``.

    Args:
        problem: says why an entry can't be data; None if it can.

    Raises:
        InputError, NotReady: as ``data_files``.
    """
    refused, waiting = replaced_files(folder, names), list[str]()
    for name in uncommitted(names):
        if why := abandoned(folder, name, names):
            refused.append((name, why))
        else:
            waiting.append(name)
    for name in names:
        if name == "_temporary" or (name.endswith(_UNDER_WAY) and not hidden(name)):
            waiting.append(name)
        elif hidden(name):
            if name.startswith(_SUMMARIES) and is_folder(name):
                refused.append((name, "a folder with the name of a marker; rename or remove it"))
        elif name.lower().endswith(_BACKUPS) and "=" not in name:
            refused.append((name, "has the name of a backup copy; move it out, or rename it"))
        elif why := problem(name):
            refused.append((name, why))
    if refused:
        shown = "\n  ".join(f"{printable(name)}: {why}" for name, why in refused[:20])
        more = f"\n  and {len(refused) - 20} more" if len(refused) > 20 else ""
        raise InputError(f"{printable(folder)} holds what can't be taken as data:\n  {shown}{more}")
    if waiting:
        raise NotReady(
            f"{printable(folder)} is still being written: it has "
            f"{', '.join(map(printable, waiting[:5]))}{', ...' if len(waiting) > 5 else ''}; run "
            "this again when its writer is done, or remove what an interrupted writer left"
        )


def _problem(path: Path, folders: list[Path], files: list[Path]) -> str | None:
    """Why an entry can't be data; None if it was added to the folders or files."""
    try:
        path.name.encode()
        status = path.stat()
    except UnicodeEncodeError:
        return "the name is not UTF-8; rename it"
    except OSError as error:
        return _access_problem(path, error)
    if stat.S_ISDIR(status.st_mode):
        if why := hive_acid(path.name):
            return why
        folders.append(path)
    elif not stat.S_ISREG(status.st_mode):
        return "neither a file nor a folder; remove it"
    elif status.st_size or not path.name.endswith("_$folder$"):  # Hadoop's marker of a folder on S3
        files.append(path)
    return None


def _access_problem(path: Path, error: OSError) -> str:
    """Explains an error of the file system for ``path``."""
    with suppress(OSError):  # not a link
        to = printable(path.readlink())
        return f"is a link to {to}, which can't be reached ({error.strerror}); mend it or remove it"
    return f"can't be read: {error.strerror}. The user that runs Nocturne must be able to"


def _distinct(files: list[Path]) -> list[Path]:
    """Raises: InputError if two paths are the same file: its rows would be read twice."""
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
    """Device and inode, which identify a file or folder whatever its name is.

    Raises:
        InputError: it can't be accessed.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"{printable(path)} {_access_problem(path, error)}") from None
    return status.st_dev, status.st_ino


def path_keys(files: Iterable[str]) -> tuple[str, ...]:
    """The keys of ``region=eu/store=1/part-0`` if all relative paths have these, else none."""
    all_keys = set()
    for file in files:
        folders = file.split("/")[:-1]
        keys = [part.partition("=") for part in takewhile(lambda part: "=" in part, folders)]
        rest = folders[len(keys) :]
        whole = all(name and value for name, _, value in keys)  # Spark refuses "=1" and "region="
        names = tuple(name for name, _, _ in keys)
        all_keys.add(names if whole and not any("=" in part for part in rest) else ())
    return all_keys.pop() if len(all_keys) == 1 else ()


def as_pattern(path: Path) -> str:
    """A path for Spark, which reads it as a pattern; special characters get a backslash."""
    return "".join(f"\\{letter}" if letter in "\\{}[]*?" else letter for letter in str(path))
