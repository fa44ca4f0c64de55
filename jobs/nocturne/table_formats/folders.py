"""Plain Parquet folders on a local file system, exchanged whole: the format ``parquet``.

Published file names contain the run key, so the folder itself says which manifest is in force. A
swap arranges the new files as hard links in a folder of the run directory, then exchanges that
folder and the partition's folder in one atomic step. ``settle`` then keeps the replaced files as a
version; the next process does that if this one was killed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow as pa

from nocturne.errors import PublishError
from nocturne.objects import Location, local
from nocturne.records.manifest import Manifest
from nocturne.store.failpoints import reach
from nocturne.store.files import check_exchange, exchange, partition_folders, place, sync_folder
from nocturne.store.partition_state import PartitionState
from nocturne.store.pipeline_state import PipelineState
from nocturne.store.run_folder import RunFolder
from nocturne.table_formats.protocol import PUBLISHED, TablePartition, gone

__all__ = ["FolderPartition", "FolderTable"]


_LAKES = (
    ("a Delta", "_delta_log", "log"),
    ("an Iceberg", "metadata/*.metadata.json", "metadata"),
)


class FolderTable:
    """A table of folders, ``ds=2013-04-01/hour=05/part-00000-<run key>.parquet``."""

    def __init__(self, state: PipelineState) -> None:
        self._state, self.folder = local(state.root), local(state.table)

    evolves = False  # each folder has columns of its own

    def check(self) -> None:
        """Try an exchange between the folder of the state and the folder of the scores.

        Raises:
            PublishError: the file system can't do it.
            OSError: a folder can't be written.
        """
        check_exchange(self._state, self.folder)

    def partition(self, state: PartitionState) -> FolderPartition:
        """The partition that belongs to a state."""
        return FolderPartition(self.folder, state)

    def partitions(self, names: Sequence[str]) -> Iterator[str]:
        """Paths of the folders of its partitions, the last first."""
        yield from partition_folders(self.folder, names)

    def half_made(self, partitions: Iterable[TablePartition]) -> Iterator[Path]:
        """The empty folders that a killed test of the exchange left beside or in the table."""
        parents = {f for partition in partitions for f in local(partition.location).parents}
        searched = {f for f in parents if self.folder in (f, *f.parents)} | {self.folder.parent}
        for folder in sorted(searched):
            for pattern in (".nocturne-*", ".garbage-*"):
                for path in sorted(folder.glob(pattern)):
                    if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
                        yield path


class FolderPartition:
    """A folder of such a table."""

    staging = "attempts"
    lake_types = False

    def __init__(self, table: Path, state: PartitionState) -> None:
        self.state = state
        self._table = table
        self.location = table / state.partition.path if state.partition.keys else table

    def partition_columns(self) -> pa.Schema:
        """None: the folders' names say them."""
        return pa.schema([])

    def check(self, schema: pa.Schema | None, from_files: Collection[str] = ()) -> None:
        """Return if it can be replaced, as far as this can be tested without touching it.

        Raises:
            PublishError: it is a link, a file or a mount point, or can't be exchanged with a folder
                of the state.
        """
        self._check_folder()
        if os.path.ismount(self.location):
            raise PublishError(
                f"{self.location} is a mount point, so it can't be replaced in one step; nothing "
                "was changed. Mount a folder above output.path instead"
            )
        check_exchange(self.state.folder, self.location.parent)

    def _check_folder(self) -> None:
        target = self.location
        for lake, mark, truth in _LAKES:
            if any(self._table.glob(mark)):
                raise PublishError(
                    f"{self._table} is {lake} table, whose {truth} decides which files count. "
                    f"Nothing was changed. Say output.format: {lake.split()[-1].lower()}, or "
                    "choose another output.path",
                    path=str(self._table),
                )
        if target.is_symlink():
            raise PublishError(
                f"{target} is a link to {target.readlink()}: publishing would replace the link, "
                "and leave what it leads to where no rollback finds it. Nothing was changed. Move "
                "the folder itself there (on the same file system), or name its place in "
                "output.path",
                path=str(target),
            )
        if target.exists() and not target.is_dir():
            raise PublishError(
                f"{target} is a file; expected the folder of a published partition, or nothing. "
                "Nothing was changed. Move it away, or choose another output.path",
                path=str(target),
            )

    def in_force(self) -> str | None:
        """The id of the manifest whose run key is in the files' names; None if it is empty.

        Raises:
            PublishError: it has files that no manifest names.
        """
        target, names = self.location, sorted(self.files())
        if not names:
            return None
        keys = {m["key"] if (m := PUBLISHED.fullmatch(name)) else None for name in names}
        key = keys.pop() if len(keys) == 1 else None
        ids = [
            id_ for id_ in self.state.manifest_ids() if key is not None and id_.endswith(f"-{key}")
        ]
        if not ids:
            raise PublishError(
                f"{target} holds files that were not published from here ({', '.join(names[:3])}"
                f"{', ...' if len(names) > 3 else ''}; state: {self.state.folder}). Move them "
                "away, or choose another output.path; nothing was changed",
                path=str(target),
            )
        return ids[-1]

    def files(self) -> dict[str, int]:
        """The entries of the folder: name -> size in bytes."""
        target = self.location
        return {p.name: p.lstat().st_size for p in target.iterdir()} if target.is_dir() else {}

    def number(self) -> int | None:
        """None: a folder does not say it."""
        return None

    def next_number(self) -> int:
        """One more than the highest number of a manifest."""
        return self.state.next_number()

    def last_published(self) -> str | None:
        """None: a folder does not say who has changed it."""
        return None

    def is_rearranged(self, manifest: Manifest) -> bool:
        """Never, as far as a folder can tell."""
        return False

    def file(self, name: str) -> Path:
        """The path of a published file."""
        return self.location / name

    def exclusive(self, *, cleaning: bool = False) -> AbstractContextManager[None]:
        """Holds the partition's lock.

        Raises:
            Superseded: another process holds it.
        """
        return self.state.lock(cleaning=cleaning)

    def stage(self, files: Mapping[str, Location], run_key: str) -> None:
        """Link the files under their final names into a folder of the run directory.

        Raises:
            StateError: a file does not exist.
        """
        arranged = self._arranged(run_key)
        shutil.rmtree(arranged, ignore_errors=True)
        arranged.mkdir(parents=True)
        for name, source in files.items():
            if not source.exists():
                raise gone(source)
            place(source, arranged / name)
        sync_folder(arranged)

    def _arranged(self, run_key: str) -> Path:
        return local(self.state.run(run_key).arranged)

    def swap(self, manifest: Manifest) -> None:
        """Exchange the arranged folder of the manifest's run and the partition's folder.

        Raises:
            PublishError, OSError: that is impossible, and nothing was changed.
        """
        self._check_folder()
        arranged, target = self._arranged(manifest.run_key), self.location
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            exchange(arranged, target)
        else:
            arranged.rename(target)

    def settle(self, manifest: Manifest, keep: int) -> None:
        """Keep the replaced files as a version, and remove versions that are too old."""
        sync_folder(self.location.parent)
        arranged = self._arranged(manifest.run_key)
        if manifest.replaces is not None and arranged.is_dir():
            version = self.state.version(manifest.replaces)
            version.parent.mkdir(exist_ok=True)
            if not version.exists():
                arranged.rename(version)
        shutil.rmtree(arranged, ignore_errors=True)
        reach("commit.retired")
        for path in self._unneeded_versions(manifest, keep):
            shutil.rmtree(path, ignore_errors=True)
        reach("commit.pruned")

    def kept(self, manifest: Manifest) -> dict[str, Path] | None:
        """The files of a replaced manifest, by name; None if they are not kept."""
        suffix = f"-{manifest.run_key[:16]}"
        versions = [path for path in self.state.versions() if path.name.endswith(suffix)]
        return (
            {file.path: versions[-1] / file.path for file in manifest.outputs} if versions else None
        )

    def unneeded(
        self, manifest: Manifest, keep: int, runs: Iterable[RunFolder]
    ) -> Iterator[tuple[Path, str]]:
        """Arranged folders that were swapped already, and versions beyond ``keep``."""
        # The replaced files of the manifest in force stay there until ``settle`` keeps them.
        settling = self._arranged(manifest.run_key)
        for run in runs:
            arranged = local(run.arranged)
            if arranged != settling and arranged.exists():
                yield arranged, "working files of a published run"
        for path in self._unneeded_versions(manifest, keep):
            yield path, f"a version past output.keep ({keep}), or in force again"

    def _unneeded_versions(self, manifest: Manifest, keep: int) -> list[Path]:
        """Kept versions beyond ``keep``, and versions whose files are in force again.

        If a manifest is damaged, none: it is unknown which versions are needed.
        """
        lineage, error = self.state.known_lineage(manifest)
        if error is not None:
            return []
        ids, versions = {m.id for m in lineage}, self.state.versions()
        current = manifest.run_key[:16]
        needed = [p for p in versions if p.name in ids and not p.name.endswith(current)]
        needed = needed[-keep:] if keep else []
        return [path for path in versions if path not in needed]
