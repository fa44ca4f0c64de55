"""A copy of the log of a Delta table that is in an object store, from which it is read.

The library reads the log anew with each question (1.6), also each commit for the number of each
partition: the status of a year of nights would take a hundred requests a night. Entries of a log
never change, so each is fetched once. Commits are made on the table itself.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from nocturne.errors import InputChanged
from nocturne.objects import ObjectPath
from nocturne.objects.together import together
from nocturne.store.files import fetch

__all__ = ["LOG", "Mirror", "last_commit"]

LOG = "_delta_log"
_COMMIT = re.compile(r"(\d{20})\.json")
_LAST_CHECKPOINT = "_last_checkpoint"


def last_commit(log: Mapping[str, ObjectPath]) -> int | None:
    """The version of the last commit in a listing, name -> object; None if there is none."""
    found = (_COMMIT.fullmatch(name) for name in log)
    return max((int(match[1]) for match in found if match), default=None)


class _Folder:
    """A temporary folder, removed with this object.

    Only by the process that made it: a forked one forgets the objects of threads that it lacks.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="nocturne-log-"))
        weakref.finalize(self, _remove, self.path, os.getpid())


def _remove(path: Path, made_by: int) -> None:
    if os.getpid() == made_by:
        shutil.rmtree(path, ignore_errors=True)


class Mirror:
    """A folder on the disk with what a table's log has since its last checkpoint."""

    def __init__(self) -> None:
        self._folder: _Folder | None = None
        self._known: dict[str, str] = {}

    def update(self, log: Mapping[str, ObjectPath]) -> Path | None:
        """The folder of a table with the log as it was listed.

        Returns:
            None if it has what can't be mirrored, or has changed meanwhile.

        Raises:
            StoreUnavailable, ConfigError: the store does not answer, or refuses.
        """
        wanted = _wanted(log)
        if wanted is None:
            return None
        tags = {name: path.stat_.tag for name, path in wanted.items() if path.stat_}
        if self._folder is None or any(tags.get(n, t) != t for n, t in self._known.items()):
            self._folder, self._known = _Folder(), {}
        folder = self._folder.path
        (folder / LOG).mkdir(exist_ok=True)
        missing = [name for name in wanted if name not in self._known]

        def get(name: str) -> None:
            fetch(wanted[name], folder / LOG / name)

        try:
            together(get, missing)
            for name in self._known.keys() - wanted.keys():  # before a checkpoint, or cleaned up
                (folder / LOG / name).unlink()
            if _LAST_CHECKPOINT in log:
                fetch(log[_LAST_CHECKPOINT], folder / LOG / _LAST_CHECKPOINT)
        except (FileNotFoundError, InputChanged):
            self._folder = None
            return None
        self._known = tags
        return folder


def _wanted(log: Mapping[str, ObjectPath]) -> dict[str, ObjectPath] | None:
    """The last checkpoint and the commits after it; None if it is of a kind that is not known."""
    first = 0
    checkpoint = dict[str, ObjectPath]()
    if _LAST_CHECKPOINT in log:
        with suppress(ValueError, KeyError, TypeError, FileNotFoundError):
            first = int(json.loads(log[_LAST_CHECKPOINT].read_bytes())["version"]) + 1
        start = f"{first - 1:020d}.checkpoint"
        checkpoint = {name: path for name, path in log.items() if name.startswith(start)}
        if not checkpoint or not all(name.endswith(".parquet") for name in checkpoint):
            return None
    if any(name.startswith("_sidecars/") for name in log):
        return None
    commits = {
        name: path
        for name, path in log.items()
        if (match := _COMMIT.fullmatch(name)) and int(match[1]) >= first
    }
    last = last_commit(commits)
    if last is None or len(commits) != last + 1 - first:  # the log has a gap
        return None
    return checkpoint | commits
