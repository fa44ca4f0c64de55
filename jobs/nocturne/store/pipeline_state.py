"""A pipeline's state, beside its table and never inside it.

Readers such as DuckDB and polars read every file below a table's folder, underscore or not::

    scores/flight_delay/                    the table
    scores/_nocturne/flight_delay/          its state: ``PipelineState``
        format.json, table.json, columns.json
        models/<digest>/, trials/, tuning/, reports/, stopped/
        ds=2013-04-01/                      ``PartitionState``
            lock, current.json, fingerprints.json
            manifests/, quarantine/, versions/, accepted/
            runs/<run key>/                 ``Run``

In an object store the kind comes first, so that a listing of one kind is short::

    s3://lake/scores/_nocturne/flight_delay/
        format.json, table.json, columns.json
        models/<digest>/, trials/, tuning/, reports/, stopped/
        manifests/ds=2013-04-01/, accepted/ds=2013-04-01/, status/ds=2013-04-01/
        runs/ds=2013-04-01/<run key>/, quarantine/ds=2013-04-01/<run key>/

No stored record has an absolute path into the state, so it can be moved or mounted elsewhere; nor
into a table on a file system. ``output.state`` names the state of a table in an object store if it
is not beside the table, and plans have the table's URI.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from nocturne.codec import Stored
from nocturne.errors import ConfigError, StateError
from nocturne.host import cache
from nocturne.objects import Location, ObjectPath, relative
from nocturne.objects.listing import listed
from nocturne.objects.store import fetch_listed
from nocturne.records.partition import Partition
from nocturne.records.plan import RunPlan
from nocturne.store.files import partition_folders
from nocturne.store.partition_state import PartitionState
from nocturne.store.record_files import find, read, write

__all__ = ["PipelineState", "models_here"]

_FOLDER = "_nocturne"
_NIGHTS = ("manifests", "status")
"""Kinds of which a partition has one if it has state."""


def _belongs_1(fields: dict[str, Any]) -> dict[str, Any]:
    """The pipeline is that of the runs that are there."""
    return {**fields, "pipeline": ""}


@dataclass(frozen=True)
class Belongs(Stored):
    """``table.json``: the table and the pipeline that a state belongs to.

    ``table``: the URI of a table in an object store; "" for a folder, which the state lies beside.
    """

    VERSION: ClassVar[int] = 2
    UPGRADES: ClassVar = {1: _belongs_1}

    table: str
    pipeline: str


class PipelineState:
    """The state of one pipeline.

    Args:
        root: its folder.
        table: the table that it belongs to, if that is in an object store.
    """

    def __init__(self, root: Location, table: ObjectPath | None = None) -> None:
        self.root, self._table = root, table

    @classmethod
    def beside(cls, table: Location) -> PipelineState:
        """The state that belongs to the table in a folder; it lies beside the table."""
        in_store = table if isinstance(table, ObjectPath) else None
        return cls(table.parent / _FOLDER / table.name, in_store)

    @property
    def table(self) -> Location:
        """The folder of the table that the state belongs to."""
        return self._table or self.root.parent.parent / self.root.name

    def belong(self, pipeline: str) -> None:
        """Note the table and the pipeline that the state belongs to; the first ones count.

        Raises:
            ConfigError: it belongs to others.
            OSError: it can't be written.
        """
        ours = Belongs(self._uri, pipeline)
        write(self._belongs, ours, exclusive=True)
        if not self.is_of(pipeline):  # an earlier version wrote it, without the pipeline
            write(self._belongs, ours)

    def is_of(self, pipeline: str) -> bool:
        """Whether it is noted that the state is this pipeline's. Nothing is written.

        What an earlier version wrote belongs to the pipeline whose runs are there.

        Raises:
            ConfigError: it belongs to another table or pipeline.
        """
        known = self.check_table()
        is_noted = known is not None and known.pipeline != ""
        owner = known.pipeline if known is not None and is_noted else self._ran()
        if owner not in ("", pipeline):
            raise ConfigError(
                f"{self.table} has the scores of the pipeline {owner!r}; two pipelines can't share "
                f"an output. Give {pipeline!r} an output.path of its own; if it is {owner!r} with "
                f"another name, say so in {self._belongs}"
            )
        return is_noted

    def check_table(self) -> Belongs | None:
        """What is noted of whose the state is. Raises: ConfigError if it is another table's."""
        known = find(Belongs, self._belongs)
        if known is not None and known.table != self._uri:
            raise ConfigError(
                f"the state in {self.root} is that of {known.table or 'the folder beside it'}, and "
                f"output.path is {self.table}. Name another folder as output.state; if the table "
                f"was moved, say so in {self._belongs}"
            )
        return known

    def _ran(self) -> str:
        """The pipeline of a run that is there; "" if there is none."""
        for path in self.plans():
            with suppress(StateError):  # another one is whole, perhaps
                return read(RunPlan, path).pipeline
        return ""

    @property
    def _belongs(self) -> Location:
        return self.root / "table.json"

    @property
    def _uri(self) -> str:
        return str(self._table or "")

    def listed(self, partitions: Iterable[Partition] | None = None) -> AbstractContextManager[None]:
        """Within the block, nights of a state in a store are as they are listed now.

        Then many nights cost some listings, and one request for each manifest that this machine
        has not seen yet. It makes no difference on a file system.

        Args:
            partitions: those whose manifests are read; None: all.

        Raises:
            StoreUnavailable, ConfigError: the store does not answer, or refuses.
        """
        return nullcontext() if isinstance(self.root, Path) else _listed(self.root, partitions)

    @property
    def models(self) -> Location:
        """Copies of the models that runs are pinned to."""
        return self.root / "models"

    def model(self, sha256: str) -> Path:
        """The folder on this machine of a model's copy, which may have to be fetched first."""
        return models_here(self.models) / sha256[:32]

    def trial(self, name: str) -> Location:
        """The result of the trial of a model."""
        return self.root / "trials" / f"{name}.json"

    def tuning(self, name: str) -> Location:
        """The result of the search for the fastest settings."""
        return self.root / "tuning" / f"{name}.json"

    @property
    def columns(self) -> Location:
        """The predictions that nights have had."""
        return self.root / "columns.json"

    def stopped(self, name: str) -> Location:
        """Why a canary, or a split, scores no more nights."""
        return self.root / "stopped" / f"{name}.json"

    def report(self, name: str) -> Location:
        """The report of a range of partitions."""
        return self.root / "reports" / f"{name}.html"

    def unfinished(self, names: Sequence[str]) -> list[str]:
        """The folders of the partitions whose last run is not published, ``ds=2013-04-01``."""
        file = "current.json"
        if isinstance(self.root, ObjectPath):
            place = self.root / "status"
            there = (PurePosixPath(relative(path, place)) for path in place.below())
            return [str(path.parent) for path in there if path.name == file]
        # As text: three years of nights are a thousand paths, for each pipeline of a page.
        paths = self.folders(names)
        return [path for path in paths if os.access(f"{self.root}/{path}/{file}", os.F_OK)]

    def partition(self, partition: Partition) -> PartitionState:
        """The state of one partition."""
        return PartitionState(self.root, partition)

    def folders(self, names: Sequence[str]) -> Iterator[str]:
        """Paths below the root that may be partitions, ``ds=2013-04-01/hour=05``, the last first.

        Args:
            names: the partition keys, in path order.
        """
        if isinstance(self.root, Path):
            return partition_folders(self.root, names)
        found = {path for kind in _NIGHTS for path in partition_folders(self.root / kind, names)}
        return iter(sorted(found, reverse=True))

    def plans(self) -> Iterator[Location]:
        """The plans of all runs, in partitions or outside of them."""
        if isinstance(self.root, Path):
            yield from self.root.glob("**/runs/*/run.json")
        else:
            runs = (self.root / "runs").below()
            yield from (path for path in runs if path.name == "run.json")


def models_here(models: Location) -> Path:
    """The folder on this machine for the models of a state. Raises: OSError."""
    return models if isinstance(models, Path) else cache.fetched("models")


@contextmanager
def _listed(root: ObjectPath, partitions: Iterable[Partition] | None) -> Iterator[None]:
    manifests = root / "manifests"
    folders = None if partitions is None else [manifests / p.state_path for p in partitions]
    with listed(*(root / kind for kind in (*_NIGHTS, "accepted"))):
        fetch_listed([manifests] if folders is None else folders)
        yield
