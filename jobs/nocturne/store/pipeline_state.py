"""A pipeline's state, beside its table and never inside it.

Readers such as DuckDB and polars read every file below a table's folder, underscore or not::

    scores/flight_delay/                    the table
    scores/_nocturne/flight_delay/          its state: ``PipelineState``
        format.json
        models/<digest>/, trials/, tuning/, reports/
        ds=2013-04-01/                      ``PartitionState``
            lock, current.json, fingerprints.json
            manifests/, quarantine/, versions/, accepted/
            runs/<run key>/                 ``Run``

No stored record has an absolute path into the table or the state, so both can be moved or mounted
elsewhere together. Of a table in an object store the state lies at ``output.state``, and plans have
the table's URI.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from nocturne.objects import Location, ObjectPath
from nocturne.records.partition import Partition
from nocturne.store.files import partition_folders
from nocturne.store.partition_state import PartitionState

__all__ = ["PipelineState"]

_FOLDER = "_nocturne"


class PipelineState:
    """The state of one pipeline.

    Args:
        root: its folder.
        table: the table that it belongs to, if that is in an object store.
    """

    def __init__(self, root: Path, table: ObjectPath | None = None) -> None:
        self.root, self._table = root, table

    @classmethod
    def beside(cls, table: Path) -> PipelineState:
        """The state that belongs to the table in a folder; it lies beside the table."""
        return cls(table.parent / _FOLDER / table.name)

    @property
    def table(self) -> Location:
        """The folder of the table that the state belongs to."""
        return self._table or self.root.parent.parent / self.root.name

    @property
    def models(self) -> Path:
        """Copies of the models that runs are pinned to."""
        return self.root / "models"

    def trial(self, name: str) -> Path:
        """The result of the trial of a model."""
        return self.root / "trials" / f"{name}.json"

    def tuning(self, name: str) -> Path:
        """The result of the search for the fastest settings."""
        return self.root / "tuning" / f"{name}.json"

    def report(self, name: str) -> Path:
        """The report of a range of partitions."""
        return self.root / "reports" / f"{name}.html"

    def partition(self, partition: Partition) -> PartitionState:
        """The state of one partition."""
        return PartitionState(self.root, partition)

    def folders(self, names: Sequence[str]) -> Iterator[str]:
        """Paths below the root that may be partitions, ``ds=2013-04-01/hour=05``, the last first.

        Args:
            names: the partition keys, in path order.
        """
        return partition_folders(self.root, names)

    def plans(self) -> Iterator[Path]:
        """The plans of all runs, in partitions or outside of them."""
        return self.root.glob("**/runs/*/run.json")
