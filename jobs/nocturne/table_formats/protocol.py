"""The tables that pipelines publish into, whatever the format. One partition is replaced at a time.

The table decides which manifest is in force; the state only describes it. Each format implements
these protocols, and publishing, rollback, verification and cleaning up use them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import pyarrow as pa

from nocturne.errors import StateError
from nocturne.objects import Location
from nocturne.records.manifest import Manifest, OutputFile
from nocturne.store.files import file_digest
from nocturne.store.partition_state import PartitionState
from nocturne.store.run_folder import RunFolder

__all__ = ["PUBLISHED", "Table", "TablePartition", "file_name", "gone", "has_bytes"]


class Table(Protocol):
    """A table with all its partitions."""

    evolves: bool
    """Whether columns are added to it that scores have and it lacks (``output.evolve: add``)."""

    def check(self) -> None:
        """Test what publishing needs of the file system, without touching existing files.

        Raises:
            PublishError: the file system lacks something.
            OSError: a folder can't be written.
        """

    def partition(self, state: PartitionState) -> TablePartition:
        """The partition that belongs to a state."""

    def half_made(self, partitions: Iterable[TablePartition]) -> Iterator[Location]:
        """Temporary folders of killed processes, beside or in the table."""

    def partitions(self, names: Sequence[str]) -> Iterator[str]:
        """Paths of possibly published partitions, ``ds=2013-04-01/hour=05``, the last first.

        Args:
            names: the partition keys, in path order.
        """


class TablePartition(Protocol):
    """A partition of a table, with the state that belongs to it."""

    @property
    def state(self) -> PartitionState:
        """The partition's state."""

    @property
    def location(self) -> Location:
        """The place where readers find it."""

    @property
    def staging(self) -> str:
        """The folder below the run directory to which attempts write their files."""

    @property
    def lake_types(self) -> bool:
        """Whether its files have only the types of lake tables (``columns.lake_type``)."""

    def partition_columns(self) -> pa.Schema:
        """Columns of the partition that its files need besides the scores, with their types.

        Raises:
            PublishError: the table can't be read.
        """

    def check(self, schema: pa.Schema | None, from_files: Collection[str] = ()) -> None:
        """Return if scores can be published into it. Called before anything is scored.

        Args:
            schema: of the scores; columns that are never null are not nullable. None: only Spark
                knows it, when it scores.
            from_files: published columns that the input's files have; others come from the model
                or the partition.

        Raises:
            PublishError: it can't be replaced, or does not take such scores.
        """

    def in_force(self) -> str | None:
        """The id of the manifest in force; None if nothing is published.

        Raises:
            PublishError: it has files that no manifest names, or others have changed it.
            StateError: a manifest is damaged.
        """

    def last_published(self) -> str | None:
        """The id of the last manifest that was published, whatever others have done since.

        None if nothing was published, or if the table can't tell.
        """

    def files(self) -> dict[str, int]:
        """The published files: name -> size in bytes, or -1 where the file is missing."""

    def number(self) -> int | None:
        """The number of the last publish; None if there was none, or the table can't tell."""

    def next_number(self) -> int:
        """The number of the next manifest, above all earlier ones."""

    def is_rearranged(self, manifest: Manifest) -> bool:
        """Whether another program has written the partition's files since the manifest.

        If the manifest is in force, that program said that it changed no row; nobody has compared
        the rows.
        """

    def file(self, name: str) -> Location:
        """The path of a published file."""

    def exclusive(self, *, cleaning: bool = False) -> AbstractContextManager[None]:
        """Keeps other publishes out, if the format can't detect conflicts by itself.

        Args:
            cleaning: to remove what nothing needs, so no process may publish meanwhile.

        Raises:
            Superseded: another process is publishing.
            RetryableError: another one is cleaning.
        """

    def stage(self, files: Mapping[str, Location], run_key: str) -> None:
        """Prepare the files of a run for the swap.

        Args:
            files: published name -> path.

        Raises:
            StateError: a file does not exist.
        """

    def swap(self, manifest: Manifest) -> None:
        """Put the staged files of the manifest's run in force, all at once or not at all.

        If the partition has these files already, only the manifest changes.

        Raises:
            Superseded: another program has changed the partition.
            PublishError, OSError: that is impossible, and nothing was changed.
            Unsettled: it is unknown whether they are in force.
        """

    def settle(self, manifest: Manifest, keep: int) -> None:
        """Do the work that follows a swap, perhaps for a publish that was killed after it.

        Args:
            manifest: the manifest in force.
            keep: the number of replaced versions that stay.
        """

    def kept(self, manifest: Manifest) -> Mapping[str, Location] | None:
        """The files of a replaced manifest, by published name; None if they are not kept."""

    def unneeded(
        self, manifest: Manifest, keep: int, runs: Iterable[RunFolder]
    ) -> Iterator[tuple[Location, str]]:
        """(path, reason) of kept files that are no longer needed.

        Args:
            manifest: the manifest in force.
            keep: the number of replaced versions that stay.
            runs: directories of published runs.
        """


PUBLISHED = re.compile(r"part-(?P<index>\d{5})-(?P<key>[0-9a-f]{16})\.parquet")
"""The names that ``file_name`` gives."""


def file_name(index: int, run_key: str) -> str:
    """The published name of a split's file. It contains the run key, so it is never reused."""
    return f"part-{index:05d}-{run_key[:16]}.parquet"


def gone(source: Location) -> StateError:
    """The error for a file of an attempt that does not exist."""
    return StateError(
        f"{source} is gone, though its result says that it was written. Nothing was published. Run "
        "the partition again: what is gone is scored again"
    )


def has_bytes(path: Location, file: OutputFile) -> bool:
    """Whether ``path`` exists and has exactly the bytes of a manifest's file."""
    return path.is_file() and file_digest(path) == file.sha256
