"""Makes published files those that a table of another format needs: other types, other columns."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from nocturne.columns.normal import lake_type
from nocturne.objects import Location
from nocturne.objects.reading import native
from nocturne.table_formats.protocol import TablePartition

__all__ = ["fitted"]


def fitted(path: Location, made_for: pa.Schema, table: TablePartition, target: Path) -> Location:
    """The file as it is if it fits into a table, else one with the same rows that does.

    Args:
        made_for: the columns of the partition that the file has besides the scores.
        table: the partition that it is for.
        target: where to write the other one.
    """
    with pq.ParquetFile(native(path)) as file:
        schema = file.schema_arrow.remove_metadata()
        wanted = _wanted(schema, made_for, table)
        if wanted.equals(schema):
            return path
        values = dict(table.state.partition.keys)
        with pq.ParquetWriter(target, wanted) as writer:
            for group in range(file.num_row_groups):
                rows = file.read_row_group(group)
                columns = [
                    rows[field.name].cast(field.type)
                    if field.name in rows.column_names
                    else pa.repeat(pa.scalar(values[field.name]).cast(field.type), len(rows))
                    for field in wanted
                ]
                writer.write_table(pa.Table.from_arrays(columns, schema=wanted))
    return target


def _wanted(schema: pa.Schema, made_for: pa.Schema, table: TablePartition) -> pa.Schema:
    fields = [field for field in schema if field.name not in made_for.names]
    if table.lake_types:
        fields = [field.with_type(lake_type(field.type)) for field in fields]
    names = {field.name for field in fields}
    return pa.schema([*fields, *(f for f in table.partition_columns() if f.name not in names)])
