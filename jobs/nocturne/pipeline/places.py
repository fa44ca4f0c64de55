"""The paths of a pipeline's input, table and state."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from nocturne.columns.normal import packed
from nocturne.config import Loaded
from nocturne.config.models import Output
from nocturne.errors import ConfigError
from nocturne.objects import Location, ObjectPath, is_uri, is_within
from nocturne.objects.store import check_creating
from nocturne.records.partition import Partition
from nocturne.source.folders import InputFolders
from nocturne.source.objects import InputObjects
from nocturne.source.protocol import InputTable
from nocturne.store.format import claim, is_new
from nocturne.store.pipeline_state import PipelineState
from nocturne.table_formats import FORMATS, INPUTS
from nocturne.table_formats.protocol import Table, TablePartition

__all__ = ["Places", "columns_of_partition", "folders_of", "planned_output"]


@dataclass(frozen=True)
class Places:
    """The folder of the input and the table in it; the table of the scores with its state.

    ``pipeline``: whose they are.
    """

    pipeline: str
    source: Location
    inputs: InputTable
    state: PipelineState
    table: Table

    @classmethod
    def of(cls, loaded: Loaded) -> Places:
        """Raises: ConfigError if input and output overlap, or the state is another table's."""
        source = loaded.location(loaded.pipeline.input.path)
        place = loaded.location(loaded.pipeline.output.path)
        if isinstance(place, ObjectPath):
            beside, given_state = PipelineState.beside(place), loaded.pipeline.output.state
            root = loaded.location(given_state) if given_state else beside.root
            state = PipelineState(root, place)
            if isinstance(root, Path):  # a store is asked by ``claim``
                state.check_table()
        else:
            state = PipelineState.beside(place)
        table, root = state.table, state.root
        for outer, inner in ((source, table), (table, source), (source, root), (root, source)):
            if is_within(inner, outer):
                raise ConfigError(
                    f"input.path ({source}) and output.path ({table}, with its state in {root}) "
                    "lie inside one another; choose folders that don't"
                )
        for outer, inner in ((table, root), (root, table)):
            if is_within(inner, outer):
                raise ConfigError(
                    f"output.path ({table}) and output.state ({root}) lie inside one another, so "
                    "that files of one would be taken for those of the other; choose another "
                    "output.state, or leave it out"
                )
        given, output = loaded.pipeline.input, loaded.pipeline.output
        read = INPUTS.get(given.format) if loaded.pipeline.scoring.reader == "pyarrow" else None
        inputs = folders_of(source) if read is None else read(source, given.table or "")
        scores = FORMATS[output.format](state, output.table or "")
        scores.evolves = output.evolve == "add"
        return cls(loaded.pipeline.name, source, inputs, state, scores)

    def input(self, partition: Partition) -> Location:
        """The partition's folder in the input."""
        return self.inputs.folder(partition)

    def output(self, partition: Partition) -> TablePartition:
        """The partition of the table, with its state."""
        return self.table.partition(self.state.partition(partition))

    def check(self) -> None:
        """Test what publishing needs of the places of the table and of the state.

        Raises:
            PublishError: one of them lacks something.
            OSError: a folder can't be written.
            StoreUnavailable, ConfigError: the store does not answer, or refuses.
        """
        self.table.check()
        if isinstance(self.state.root, ObjectPath):
            check_creating(self.state.root)

    def claim(self) -> None:
        """Create the state, or check that this version of Nocturne and this pipeline can use it.

        Raises:
            StateError: a newer version of Nocturne wrote it, or a file of its root is damaged.
            ConfigError: it can't be written, or belongs to another pipeline or table.
            PublishError: the table can't be published into there.
        """
        root = self.state.root
        try:
            if isinstance(root, Path):
                root.mkdir(parents=True, exist_ok=True)
            is_ours = self.state.is_of(self.pipeline)
            if is_new(root) or isinstance(self.state.table, ObjectPath):
                self.check()  # a store may be another one under the same name
            claim(root)
            if not is_ours:
                self.state.belong(self.pipeline)
        except OSError as error:
            raise ConfigError(
                f"{root} can't be written: {error.strerror}. It must be on the same file system as "
                "output.path and writable for the user that runs Nocturne"
            ) from None


def columns_of_partition(output: TablePartition, published: Collection[str]) -> pa.Schema:
    """Columns of the partition that the files need besides those that are published anyway."""
    return pa.schema([f for f in output.partition_columns() if f.name not in published])


def folders_of(source: Location) -> InputTable:
    """A table of folders with files, on a disk or in an object store."""
    return InputObjects(source) if isinstance(source, ObjectPath) else InputFolders(source)


def planned_output(
    settings: Output, output: TablePartition, of_partition: pa.Schema
) -> dict[str, Any]:
    """What a ``RunPlan`` says of the table that the run is published into."""
    return {
        "output_uri": settings.path if is_uri(settings.path) else "",
        "format": settings.format,
        "table": settings.table or "",
        "evolve": settings.evolve or "",
        "staging": output.staging,
        "lake_types": output.lake_types,
        "partition_columns": packed(of_partition) if len(of_partition) else "",
    }
