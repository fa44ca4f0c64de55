"""The files with the labels of a night, read batch by batch in the types of the scores' keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from nocturne.columns.normal import plain_type
from nocturne.config import Loaded
from nocturne.config.labels import Labels
from nocturne.errors import InputError, choices
from nocturne.objects import Location
from nocturne.objects.reading import native
from nocturne.pipeline.places import folders_of
from nocturne.records.partition import Partition
from nocturne.source.protocol import InputTable
from nocturne.table_formats import INPUTS

__all__ = ["BATCH_ROWS", "LabelFiles", "label_files", "label_table", "plain"]

BATCH_ROWS = 262_144


@dataclass(frozen=True)
class LabelFiles:
    """The labels of a night.

    ``rows``: as the footers say. ``schema``: of all files together, without dictionaries.
    """

    files: tuple[Location, ...]
    rows: int
    schema: pa.Schema

    def tables(self, columns: Sequence[str], keys: pa.Schema) -> Iterator[pa.Table]:
        """The columns, some rows at a time.

        Args:
            keys: the key's columns, with the types that the scores have.

        Raises:
            InputError: a key can't be taken for one of the scores' type.
        """
        types = [keys.field(n) if n in keys.names else self.schema.field(n) for n in columns]
        for path in self.files:
            with pq.ParquetFile(native(path)) as file:
                there = [name for name in columns if name in file.schema_arrow.names]
                for batch in file.iter_batches(BATCH_ROWS, columns=there):
                    yield _typed(plain(pa.Table.from_batches([batch])), types, keys)


def label_table(loaded: Loaded, labels: Labels) -> InputTable:
    """The table that the labels are in."""
    place = loaded.location(labels.path)
    read = INPUTS.get(labels.format)
    return folders_of(place) if read is None else read(place, labels.table or "")


def label_files(
    loaded: Loaded, labels: Labels, night: Partition, needed: Sequence[str]
) -> LabelFiles:
    """The files of a night's labels.

    Args:
        needed: columns without which the labels are of no use.

    Raises:
        InputError: there are none, or they lack a column.
    """
    table = label_table(loaded, labels)
    files = tuple(table.listing(night).files) if table.has(night) else ()
    if not files:
        raise InputError(f"there are no labels for {night.key} in {table.folder(night)} yet")
    rows, schemas = 0, []
    for path in files:
        with pq.ParquetFile(native(path)) as file:
            schema = file.schema_arrow.remove_metadata()
            if missing := [name for name in needed if name not in schema.names]:
                raise InputError(f"{path} has no column {choices(missing)}, which labels need")
            rows += file.metadata.num_rows
            schemas.append(pa.schema([f.with_type(plain_type(f.type)) for f in schema]))
    return LabelFiles(files, rows, pa.unify_schemas(schemas, promote_options="permissive"))


def plain(table: pa.Table) -> pa.Table:
    """The table without dictionaries."""
    return table.cast(pa.schema([f.with_type(plain_type(f.type)) for f in table.schema]))


def _typed(table: pa.Table, types: Sequence[pa.Field], keys: pa.Schema) -> pa.Table:
    columns = []
    for field in types:
        if field.name not in table.column_names:
            columns.append(pa.nulls(table.num_rows, field.type))
        elif field.name in keys.names:
            columns.append(_as_key(table[field.name], field))
        else:
            columns.append(table[field.name].cast(field.type))
    return pa.table(columns, names=[field.name for field in types])


def _as_key(column: pa.ChunkedArray, ours: pa.Field) -> pa.ChunkedArray:
    """A key of the labels in the type of the scores'.

    Raises:
        InputError: some value can't be taken for one of it.
    """
    try:
        zones = [getattr(type_, "tz", None) is None for type_ in (ours.type, column.type)]
        if pa.types.is_timestamp(ours.type) and zones[0] != zones[1]:
            raise pa.ArrowInvalid("one of them has a time zone")
        return column.cast(ours.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise InputError(
            f"the labels' key {ours.name!r} is {column.type}, the scores' is {ours.type}, and some "
            "value can't be taken for one of the other type"
        ) from None
