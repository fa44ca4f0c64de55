"""Plain Parquet folders on a local file system, exchanged whole: the format ``parquet``.

Published file names carry the run key, so the folder itself says which manifest is in force. A
swap arranges the new files as hard links in a folder beside the run, then that folder and the
partition's change places in one atomic step. What comes out is kept as a version, by whoever finds
that undone: ``settle``.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from nocturne.errors import PublishError, StateError
from nocturne.records.manifest import Manifest
from nocturne.store.failpoints import reach
from nocturne.store.files import check_exchange, exchange, partition_folders, sync_folder
from nocturne.store.partition_state import PartitionState
from nocturne.store.pipeline_state import PipelineState
from nocturne.store.run_folder import RunFolder
from nocturne.table_formats.protocol import TablePartition

__all__ = ["FolderPartition", "FolderTable"]

_FILE = re.compile(r"part-(\d{5})-([0-9a-f]{16})\.parquet")


class FolderTable:
    """A table of folders, ``ds=2013-04-01/hour=05/part-00000-<run key>.parquet``."""

    def __init__(self, state: PipelineState) -> None:
        self._state, self.folder = state.root, state.table

    def check(self) -> None:
        """Try the exchange between the folders of the state and of the scores.

        Raises:
            PublishError: the file system can't do it.
            OSError: it can't be written.
        """
        check_exchange(self._state, self.folder)

    def partition(self, state: PartitionState) -> FolderPartition:
        """The partition that a state is of."""
        return FolderPartition(self.folder, state)

    def partitions(self, names: Sequence[str]) -> Iterator[str]:
        """Paths of its partitions' folders, the last first."""
        yield from partition_folders(self.folder, names)

    def half_made(self, partitions: Iterable[TablePartition]) -> Iterator[Path]:
        """The empty folders that a trial of the exchange left beside the table, or in it."""
        above = {folder for one in partitions for folder in one.location.parents}
        own = {f for f in above if self.folder in (f, *f.parents)} | {self.folder.parent}
        for folder in sorted(own):
            for pattern in (".nocturne-*", ".garbage-*"):
                for path in sorted(folder.glob(pattern)):
                    if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
                        yield path


class FolderPartition:
    """One folder of such a table."""

    staging = "attempts"

    def __init__(self, table: Path, state: PartitionState) -> None:
        self.state = state
        self.location = table / state.partition.path if state.partition.keys else table

    def check(self) -> None:
        """Returns if it can be published, as far as trying tells without touching it.

        Raises:
            PublishError: it is a link, a file or a mount point, or can't change places with what
                lies in the state.
        """
        self._refuse_odd()
        if os.path.ismount(self.location):
            raise PublishError(
                f"{self.location} is a mount point, so it can't be replaced in one step; nothing "
                "was changed. Mount a folder above output.path instead"
            )
        check_exchange(self.state.folder, self.location.parent)

    def _refuse_odd(self) -> None:
        target = self.location
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
        """The id of the manifest that its files' names belong to; None if it is empty.

        Raises:
            PublishError: it holds files that no manifest of ours names.
        """
        target, names = self.location, sorted(self.files())
        if not names:
            return None
        keys = {m.group(2) if (m := _FILE.fullmatch(name)) else None for name in names}
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
        """What lies in it: name -> bytes."""
        target = self.location
        return {p.name: p.lstat().st_size for p in target.iterdir()} if target.is_dir() else {}

    def file(self, name: str) -> Path:
        """A published file."""
        return self.location / name

    def exclusive(self) -> AbstractContextManager[None]:
        """Holds the partition's lock.

        Raises:
            Superseded: another process holds it.
        """
        return self.state.lock()

    def stage(self, files: Mapping[str, Path], run_key: str) -> None:
        """A folder in the run's with the files under their final names: links, no copies.

        Raises:
            StateError: a file is gone.
        """
        table = self.state.run(run_key).arranged
        shutil.rmtree(table, ignore_errors=True)
        table.mkdir(parents=True)
        for name, source in files.items():
            if not source.exists():
                raise StateError(
                    f"{source} is gone, though its result says that it was written; run the "
                    "partition again with --force"
                )
            os.link(source, table / name)
        sync_folder(table)

    def swap(self, manifest: Manifest) -> None:
        """The arranged folder of the manifest's run and the partition's change places.

        Raises:
            PublishError, OSError: they can't, and nothing was changed.
        """
        self._refuse_odd()
        table, target = self.state.run(manifest.run_key).arranged, self.location
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            exchange(table, target)
        else:
            table.rename(target)

    def settle(self, manifest: Manifest, keep: int) -> None:
        """The files that the exchange brought out become a kept version; too old ones go."""
        sync_folder(self.location.parent)
        table = self.state.run(manifest.run_key).arranged
        if manifest.replaces is not None and table.is_dir():
            old = self.state.version(manifest.replaces)
            old.parent.mkdir(exist_ok=True)
            if not old.exists():
                table.rename(old)
        shutil.rmtree(table, ignore_errors=True)
        reach("commit.retired")
        for path in self._superfluous(manifest, keep):
            shutil.rmtree(path, ignore_errors=True)
        reach("commit.pruned")

    def kept(self, manifest: Manifest) -> dict[str, Path] | None:
        """The files of a manifest that was replaced, by name; None if they are not kept."""
        named = f"-{manifest.run_key[:16]}"
        found = [path for path in self.state.versions() if path.name.endswith(named)]
        return {file.path: found[-1] / file.path for file in manifest.outputs} if found else None

    def unneeded(
        self, manifest: Manifest, keep: int, runs: Iterable[RunFolder]
    ) -> Iterator[tuple[Path, str]]:
        """Arranged folders that were swapped already, and versions past ``keep``."""
        # The night that the one in force has replaced waits there for somebody to settle.
        settling = self.state.run(manifest.run_key).arranged
        for run in runs:
            if run.arranged != settling and run.arranged.exists():
                yield run.arranged, "working files of a published run"
        for path in self._superfluous(manifest, keep):
            yield path, f"a version past output.keep ({keep}), or in force again"

    def _superfluous(self, manifest: Manifest, keep: int) -> list[Path]:
        """Kept versions past ``keep``, and those whose files are in force again.

        None, where a manifest is damaged: which versions are wanted can't be told.
        """
        known, broken = self.state.known_lineage(manifest)
        if broken is not None:
            return []
        line, found = {m.id for m in known}, self.state.versions()
        again = manifest.run_key[:16]
        wanted = [p for p in found if p.name in line and not p.name.endswith(again)]
        wanted = wanted[-keep:] if keep else []
        return [path for path in found if path not in wanted]
