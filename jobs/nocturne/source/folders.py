"""An input of folders, ``ds=2013-04-01/hour=05/``, whose files are what lies in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nocturne.records.partition import Partition
from nocturne.source.lakes import refuse_lake
from nocturne.source.protocol import Listing
from nocturne.source.walk import data_files, entries, present
from nocturne.store.files import partition_folders

__all__ = ["InputFolders", "listed"]


def listed(folder: Path) -> Listing:
    """The data files in a folder. Raises: InputError, NotReady."""
    return Listing(folder, data_files(folder))


@dataclass(frozen=True)
class InputFolders:
    """The folders below ``root``; ``root`` itself is an unpartitioned table."""

    root: Path

    def exists(self) -> bool:
        """Whether there is such a folder."""
        return self.root.is_dir()

    def folder(self, partition: Partition) -> Path:
        """The folder of a partition."""
        return self.root / partition.path if partition.keys else self.root

    def has(self, partition: Partition) -> bool:
        """Whether its folder exists. Raises: InputError."""
        folder = self.folder(partition)
        refuse_lake(folder)
        return present(folder)

    def listing(self, partition: Partition) -> Listing:
        """The files of its folder. Raises: InputError, NotReady."""
        return listed(self.folder(partition))

    def is_marked(self, partition: Partition) -> bool:
        """Whether its folder has a file ``_SUCCESS``."""
        return "_SUCCESS" in entries(self.folder(partition))

    def neighbours(self, partition: Partition) -> Iterator[str]:
        """Names of the folders beside it."""
        return (p.name for p in self.folder(partition).parent.glob("*=*") if p.is_dir())

    def partitions(self, key_formats: Mapping[str, str]) -> Iterator[str]:
        """The folders of partitions."""
        return partition_folders(self.root, list(key_formats))
