"""The quarantined rows of a night, for people: filtered, sorted, without sensitive columns."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from unicodedata import category, normalize

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nocturne.columns.normal import plain
from nocturne.columns.values import python_values
from nocturne.config import Loaded
from nocturne.errors import ConfigError, StateError, choices
from nocturne.objects import Location
from nocturne.objects.reading import native
from nocturne.operate.status import PartitionStatus, status_of, statuses_of
from nocturne.pipeline.places import Places
from nocturne.pipeline.runs import open_run
from nocturne.records.partition import Partition
from nocturne.records.plan import RunPlan
from nocturne.store.partition_state import PartitionState
from nocturne.store.record_files import read
from nocturne.worker.staging import LOCATION, quarantined_name

__all__ = ["MOST_SORTED", "QuarantinedRows", "csv_lines", "quarantined_rows", "reason_history"]

MOST_SORTED = 100_000
"""Of more rows, the first so many are sorted: a page must not take the server's memory."""

_BATCH = 10_000
_STARTS_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")
"""A spreadsheet runs a text that begins so (OWASP, CSV Injection)."""
_NOT_SEEN = {"Cc", "Cf", "Zl", "Zp", "Zs"}
"""The Unicode categories of characters that a spreadsheet may drop: spaces, a byte order mark."""


@dataclass(frozen=True)
class QuarantinedRows:
    """Quarantined rows of a night.

    Attributes:
        columns: the names of the columns: source_file, source_row, reason, then those of the input.
        hidden: the sensitive columns that are left out.
        rows: one page of rows, each with one value a column.
        found: how many rows fit the filter.
        reasons: reason -> rows, of the whole night, the most frequent first.
        cut: whether only the first ``MOST_SORTED`` rows were looked at.
    """

    columns: tuple[str, ...]
    hidden: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    found: int
    reasons: dict[str, int]
    cut: bool = False


def quarantined_rows(
    loaded: Loaded,
    partition: Partition,
    *,
    reason: str = "",
    sort: str = "",
    descending: bool = False,
    first: int = 0,
    limit: int = 100,
) -> QuarantinedRows:
    """One page of the rows that the last run of a partition could not score.

    Args:
        reason: only rows with this reason.
        sort: the column to sort by; "" keeps the order of the input.
        first, limit: the page: rows from ``first`` on, at most ``limit``.

    Raises:
        ConfigError: there is no such column.
        StateError: the partition was never scored, or a file is gone.
    """
    columns, hidden, batches = _read(loaded, partition)
    if sort and sort not in columns:
        raise ConfigError(f"sort: got {sort!r}, expected one of {choices(columns)}")
    reasons, parts, there, cut = Counter[str](), list[pa.RecordBatch](), 0, False
    for batch in batches:
        reasons.update(batch.column("reason").to_pylist())
        fits = _with(reason, batch)
        room = MOST_SORTED - there
        cut = cut or fits.num_rows > room
        parts.append(fits.slice(0, room))
        there += parts[-1].num_rows
    found = reasons[reason] if reason else sum(reasons.values())
    table = pa.Table.from_batches(parts) if parts else None
    if table is not None and sort:
        order = "descending" if descending else "ascending"
        table = table.take(pc.sort_indices(_sortable(table.column(sort)), [("", order)]))
    page = python_values(table.slice(first, limit)) if table is not None else []
    rows = [tuple(row[name] for name in columns) for row in page]
    return QuarantinedRows(columns, hidden, rows, found, dict(reasons.most_common()), cut)


def _with(reason: str, batch: pa.RecordBatch) -> pa.RecordBatch:
    """The rows with a reason; all of them if it is ""."""
    return batch.filter(pc.equal(batch.column("reason"), reason)) if reason else batch


def _sortable(column: pa.ChunkedArray) -> pa.Table:
    """The column as a table, as text if its values have no order."""
    nested = pa.types.is_nested(column.type)
    if pa.types.is_float16(column.type):
        column = column.cast(pa.float32())
    values = pa.chunked_array([[str(v) for v in python_values(column)]]) if nested else column
    return pa.table({"": values})


def csv_lines(loaded: Loaded, partition: Partition, *, reason: str = "") -> Iterator[str]:
    """The same rows as the lines of a CSV file, with a header; no cell is run by a spreadsheet."""
    columns, _, batches = _read(loaded, partition)
    yield _line(columns)
    for batch in batches:
        for row in python_values(_with(reason, batch)):
            yield _line([row[name] for name in columns])


def _line(values: Sequence[Any]) -> str:
    text = io.StringIO()
    # Quoted: a spreadsheet may split at semicolons, and what follows would begin a cell.
    csv.writer(text, quoting=csv.QUOTE_NONNUMERIC).writerow([_cell(value) for value in values])
    return text.getvalue()


def _cell(value: Any) -> Any:
    """A text that a spreadsheet would run gets an apostrophe before it; numbers stay numbers."""
    if value is None or isinstance(value, (bool, int, float, Decimal)):
        return value
    text = str(value)
    return f"'{text}" if _is_formula(text) else text


def _is_formula(text: str) -> bool:
    """Whether it begins as a formula, also in full-width characters or after unseen ones."""
    begin = next((char for char in text if category(char) not in _NOT_SEEN), "")
    begins = (text[:1], normalize("NFKC", begin))
    return any(first.startswith(_STARTS_FORMULA) for first in begins)


def _read(
    loaded: Loaded, partition: Partition
) -> tuple[tuple[str, ...], tuple[str, ...], Iterator[pa.RecordBatch]]:
    """The shown columns, the hidden ones, and batches of the shown ones."""
    places = Places.of(loaded)
    status = status_of(loaded, partition, places)
    if status.run is None:
        raise StateError(f"{loaded.pipeline.name} {partition.key} was never scored")
    plan = read(RunPlan, status.run.plan_file)
    sensitive = {*plan.sensitive, *loaded.pipeline.quality.sensitive}
    secret = {quarantined_name(name) for name in sensitive}
    files = _files(places.state.partition(partition), status)
    schemas = {file: _schema(file) for file in files}
    names = list(dict.fromkeys(name for schema in schemas.values() for name in schema.names))
    shown = tuple(dict.fromkeys([*LOCATION, *(name for name in names if name not in secret)]))
    return shown, tuple(sorted(sensitive)), _batches(schemas, shown)


def _files(state: PartitionState, status: PartitionStatus) -> list[Location]:
    """The files of quarantined rows of the last run; of a published one, those that are kept."""
    unplanned = status.unfinished is None or not status.unfinished.run_key
    if unplanned and status.manifest is not None:
        manifest = status.manifest
        return [state.quarantine_file(manifest.run_key, f.path) for f in manifest.quarantine]
    assert status.run is not None
    run = open_run(status.run.path)
    return [run.attempt(r.quarantine_file) for r in run.results() if r.quarantine_file]


def _schema(file: Location) -> pa.Schema:
    try:
        return pq.read_schema(native(file))
    except FileNotFoundError:
        raise StateError(f"{file} with quarantined rows is gone") from None


def _batches(
    schemas: Mapping[Location, pa.Schema], columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Batches with the ``columns``, null where a file has none; all of one type a column."""
    fields = {}
    for name in columns:
        types = {schema.field(name).type for schema in schemas.values() if name in schema.names}
        fields[name] = types.pop() if len(types) == 1 else pa.string()
    for file, schema in schemas.items():
        names = [name for name in columns if name in schema.names]
        for batch in pq.ParquetFile(native(file)).iter_batches(_BATCH, columns=names):
            yield pa.RecordBatch.from_arrays(
                [_column(batch, name, type_) for name, type_ in fields.items()], list(fields)
            )


def _column(batch: pa.RecordBatch, name: str, type_: pa.DataType) -> pa.Array:
    if name not in batch.schema.names:
        return pa.nulls(batch.num_rows, type_)
    column = plain(batch.column(name))
    if column.type == type_:
        return column
    with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return column.cast(type_)
    return pa.array([None if v is None else str(v) for v in python_values(column)], pa.string())


def reason_history(
    loaded: Loaded, partitions: Sequence[Partition], reason: str
) -> Mapping[str, int]:
    """How many rows had a reason in each of some nights; nights that have no rows have 0.

    Nights that were not scored, and those whose rows are gone, are left out.
    """
    places, counts = Places.of(loaded), dict[str, int]()
    for partition, status in zip(partitions, statuses_of(loaded, partitions), strict=True):
        if status.run is None:
            continue
        with suppress(StateError, FileNotFoundError):
            rows = 0
            for file in _files(places.state.partition(partition), status):
                for batch in pq.ParquetFile(native(file)).iter_batches(columns=["reason"]):
                    rows += pc.sum(pc.equal(batch.column(0), reason)).as_py() or 0
            counts[status.key] = rows
    return counts
