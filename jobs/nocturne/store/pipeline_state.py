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
from dataclasses import dataclass
from pathlib import Path

from nocturne.codec import Stored
from nocturne.errors import ConfigError
from nocturne.objects import Location, ObjectPath
from nocturne.records.partition import Partition
from nocturne.store.files import partition_folders
from nocturne.store.partition_state import PartitionState
from nocturne.store.record_files import find, write

__all__ = ["PipelineState"]

_FOLDER = "_nocturne"


@dataclass(frozen=True)
class Belongs(Stored):
    """``table.json``: the URI of the table that a state belongs to."""

    table: str


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

    def belong(self) -> None:
        """Note the table in an object store that the state belongs to; the first one counts.

        Raises:
            ConfigError: it belongs to another table.
            OSError: it can't be written.
        """
        if self._table is not None:
            write(self.root / "table.json", Belongs(str(self._table)), exclusive=True)
            self.check_table()

    def check_table(self) -> None:
        """Raises: ConfigError if the state belongs to another table."""
        known = find(Belongs, self.root / "table.json")
        if known is not None and known.table != str(self.table):
            raise ConfigError(
                f"the state in {self.root} is that of {known.table}, and output.path is "
                f"{self.table}. Name another folder as output.state; if the table was moved, say "
                f"so in {self.root / 'table.json'}"
            )

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
