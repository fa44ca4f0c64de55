"""What a pipeline publishes into, whatever the format: one partition is replaced at a time.

The table decides what is in force, the state only describes it. A format says how; who publishes,
rolls back, verifies and cleans up (``commit``, ``reuse``, ``garbage`` and the corridors) asks it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from nocturne.records.manifest import Manifest, OutputFile
from nocturne.store.files import file_digest
from nocturne.store.partition_state import PartitionState
from nocturne.store.run_folder import RunFolder

__all__ = ["Table", "TablePartition", "file_name", "has_bytes"]


class Table(Protocol):
    """A table, with all of its partitions."""

    def check(self) -> None:
        """Try what publishing needs of the place, without touching what is there.

        Raises:
            PublishError: it lacks something.
            OSError: it can't be written.
        """

    def partition(self, state: PartitionState) -> TablePartition:
        """The partition that a state is of."""

    def half_made(self, partitions: Iterable[TablePartition]) -> Iterator[Path]:
        """What killed processes have left beside the table, or in it."""

    def partitions(self, names: Sequence[str]) -> Iterator[str]:
        """Paths of what may be published partitions, ``ds=2013-04-01/hour=05``, the last first.

        Args:
            names: the partition keys, in path order.
        """


class TablePartition(Protocol):
    """One partition of a table, and the state that belongs to it."""

    @property
    def state(self) -> PartitionState:
        """The partition's state."""

    @property
    def location(self) -> Path:
        """Where its readers find it."""

    @property
    def staging(self) -> str:
        """Where attempts write their files, below the run directory."""

    def check(self) -> None:
        """Raises: PublishError if it can't be replaced there; asked before anything is scored."""

    def in_force(self) -> str | None:
        """The id of the manifest of what is published now; None if nothing is.

        Raises:
            PublishError: it holds files that no manifest of ours names.
        """

    def files(self) -> dict[str, int]:
        """What is published now: name -> bytes."""

    def file(self, name: str) -> Path:
        """A published file."""

    def exclusive(self) -> AbstractContextManager[None]:
        """Keeps other publishes out where the format can't tell them apart by itself.

        Raises:
            Superseded: another process is publishing.
        """

    def stage(self, files: Mapping[str, Path], run_key: str) -> None:
        """Bring the files of a run to where the swap takes them from.

        Args:
            files: published name -> where it lies.

        Raises:
            StateError: a file is gone.
        """

    def swap(self, manifest: Manifest) -> None:
        """Put the staged files of the manifest's run in force: all at once, or not at all.

        Raises:
            PublishError, OSError: it can't be done, and nothing was changed.
        """

    def settle(self, manifest: Manifest, keep: int) -> None:
        """Finish what follows a swap, perhaps of a publish that was killed after it.

        Args:
            manifest: the one in force.
            keep: replaced versions that stay.
        """

    def kept(self, manifest: Manifest) -> dict[str, Path] | None:
        """The files of a replaced manifest, by published name; None if they are not kept."""

    def unneeded(
        self, manifest: Manifest, keep: int, runs: Iterable[RunFolder]
    ) -> Iterator[tuple[Path, str]]:
        """What the table keeps and needs no more, and why.

        Args:
            manifest: the one in force.
            keep: replaced versions that stay.
            runs: directories of runs that were published.
        """


def file_name(index: int, run_key: str) -> str:
    """The published name of a split's file; it names the run, so it is never reused."""
    return f"part-{index:05d}-{run_key[:16]}.parquet"


def has_bytes(path: Path, file: OutputFile) -> bool:
    """Whether ``path`` is there with the very bytes of a manifest's file."""
    return path.is_file() and file_digest(path) == file.sha256
