"""Reads Parquet files as a pandas frame for Great Expectations."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from nocturne.columns.normal import normal
from nocturne.errors import InputError
from nocturne.objects import Location
from nocturne.objects.reading import native
from nocturne.source.path_columns import of_file

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_frame", "readable"]


def read_frame(
    files: Sequence[Location],
    columns: Collection[str],
    path_columns: pa.RecordBatch | None = None,
    *,
    all_names: bool = False,
) -> tuple[pd.DataFrame, pa.Schema]:
    """The ``columns`` of all files, in the table's order, and their Arrow types.

    Args:
        path_columns: columns from the paths of the files, one row for each file.
        all_names: also make a column for every other name of the table without reading it (one
            byte for each row), for expectations about the names of the columns.

    Raises:
        InputError: a file is missing, or is not a Parquet file.
    """
    tables = [
        _read(path, columns, of_file(path_columns, number)) for number, path in enumerate(files)
    ]
    table = pa.concat_tables([t for t, _ in tables], promote_options="permissive")
    names = list(dict.fromkeys(name for _, file_names in tables for name in file_names))
    rows = sum(t.num_rows for t, _ in tables)
    return _frame(table, names if all_names else table.column_names, rows), table.schema


@contextmanager
def readable(path: Location) -> Iterator[None]:
    """Raises: InputError if ``path`` turns out to be missing, or not a Parquet file."""
    try:
        yield
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(
            f"{path} can't be read as Parquet for its quality check: {error}. Was it removed or "
            "replaced since the run was prepared? Run the partition again",
            path=str(path),
        ) from None


def _read(
    path: Location, columns: Collection[str], path_columns: pa.RecordBatch | None
) -> tuple[pa.Table, list[str]]:
    # Not pq.read_table: it would add the folder's `ds=...` as a column.
    with readable(path), pq.ParquetFile(native(path), coerce_int96_timestamp_unit="us") as file:
        names = list(file.schema_arrow.names)
        table = normal(file.read(columns=[name for name in names if name in columns]))
    if path_columns is not None:
        names += path_columns.schema.names
        for name in path_columns.schema.names:
            if name in columns:
                table = table.append_column(
                    name, pa.repeat(path_columns.column(name)[0], table.num_rows)
                )
    return table, names


def _frame(table: pa.Table, names: Sequence[str], rows: int) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    # The frame is made at once from its columns: adding them one by one fragments it.
    read = {name: _series(table[name]) for name in table.column_names}
    return pd.DataFrame(
        {name: read[name] if name in read else np.zeros(rows, dtype=bool) for name in names},
        index=pd.RangeIndex(rows),
    )


def _series(column: pa.ChunkedArray) -> pd.Series[Any]:
    """Converts a column as pandas does, except integers and booleans with nulls.

    Those would become floats (wrong beyond 2**53) and objects; they get pandas' masked
    types instead. Columns without nulls keep numpy's types, which are three times as fast.
    ArrowDtype is not used: there NaN counts as a value, in Great Expectations as a null.
    """
    import pandas as pd

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    masked: dict[pa.DataType, Any] = {
        pa.bool_(): pd.BooleanDtype(),
        pa.int8(): pd.Int8Dtype(),
        pa.int16(): pd.Int16Dtype(),
        pa.int32(): pd.Int32Dtype(),
        pa.int64(): pd.Int64Dtype(),
        pa.uint8(): pd.UInt8Dtype(),
        pa.uint16(): pd.UInt16Dtype(),
        pa.uint32(): pd.UInt32Dtype(),
        pa.uint64(): pd.UInt64Dtype(),
    }
    mapper = masked.get if column.null_count else None
    try:
        series: pd.Series[Any] = column.to_pandas(types_mapper=mapper)
    except ValueError:  # days that Python can't hold
        series = column.to_pandas(types_mapper=mapper, date_as_object=False)
    return series
