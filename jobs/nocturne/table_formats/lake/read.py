"""An input that is a lake table: its log or catalog decides which files are in a partition."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nocturne.errors import InputError, PublishError
from nocturne.records.partition import Partition
from nocturne.source.protocol import Listing
from nocturne.table_formats.lake.snapshot import DataFile, Misfit, Snapshot, folder_of, twice
from nocturne.table_formats.lake.table import LakeTable

__all__ = ["LakeInput"]


@dataclass(frozen=True)
class LakeInput:
    """A table that is read, one version at a time."""

    table: LakeTable

    def exists(self) -> bool:
        """Whether there is a table. Raises: InputError."""
        with self._reading():
            return self.table.snapshot() is not None

    def folder(self, partition: Partition) -> Path:
        """The folder where a writer puts the partition's files, unless it has a reason not to."""
        return self.table.data / folder_of(partition)

    def has(self, partition: Partition) -> bool:
        """Whether the last version has files of the partition. Raises: InputError."""
        return bool(self._files(self._snapshot(), partition))

    def listing(self, partition: Partition) -> Listing:
        """The partition's files in the last version.

        Raises:
            InputError: there is no such table, or what its files say is not what readers see.
        """
        snapshot = self._snapshot()
        folder = self.folder(partition)
        files = self._files(snapshot, partition)
        paths = sorted(Path(os.path.normpath(folder / file.name)) for file in files)
        with self._reading():
            problems = [*snapshot.reading_problems(partition), *twice(files)]
            problems += snapshot.column_problems(paths if not problems else [])
        if problems:
            shown = "; ".join(problems[:5])
            raise InputError(
                f"partition {partition.key} of {self.table.title} can't be scored: {shown}. Have "
                "it rewritten without that, or have the rows written into a table of their own",
                path=str(folder),
            )
        return Listing(folder, paths, f"{self.table.format} version {snapshot.version}")

    def is_marked(self, partition: Partition) -> bool:
        """Always: what was committed is complete."""
        return True

    def neighbours(self, partition: Partition) -> Iterator[str]:
        """Paths of the partitions that have files."""
        return self.partitions([name for name, _ in partition.keys])

    def partitions(self, names: Sequence[str]) -> Iterator[str]:
        """Paths of the partitions that have files, the last first."""
        with self._reading():
            snapshot = self.table.snapshot()
            paths = [] if snapshot is None else sorted(snapshot.paths(names), reverse=True)
        yield from paths

    def _snapshot(self) -> Snapshot:
        with self._reading():
            self.table.ready()
            snapshot = self.table.snapshot()
        if snapshot is None:
            raise InputError(
                f"{self.table.title} does not exist. Correct input.path, or input.format",
                path=str(self.table.folder),
            )
        return snapshot

    def _files(self, snapshot: Snapshot, partition: Partition) -> list[DataFile]:
        with self._reading():
            return snapshot.files(partition)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Raises: InputError for what is wrong with the table."""
        try:
            yield
        except Misfit as misfit:
            raise InputError(
                f"{misfit}. input.partition must name the columns that the table is partitioned by",
                path=str(self.table.folder),
            ) from None
        except PublishError as error:
            raise InputError(str(error), path=str(self.table.folder)) from None
