"""Staging: writes the good rows of a split to one Parquet file and the bad rows to another."""

from __future__ import annotations

import base64
import os
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from nocturne.columns.normal import plain, published_type, restored
from nocturne.encoding import MODEL_VERSION

__all__ = ["LOCATION", "Staging", "quarantined_name"]

LOCATION = ("source_file", "source_row", "reason")
"""The columns that say where a quarantined row came from, and why it is quarantined."""

_GROUP_ROWS = 1 << 20
_GROUP_BYTES = 64 << 20
"""Staging holds up to this many rows or bytes in memory, then it writes a row group."""


def quarantined_name(column: str) -> str:
    """The name that a column of the input has in quarantine."""
    return f"input.{column}" if column in LOCATION else column


class Staging:
    """The two files of an attempt; the quarantine file is created with its first row.

    It is a context manager: after the ``with`` block, the files are complete and on disk.
    """

    def __init__(
        self,
        target: Path,
        quarantine: Path,
        schema: pa.Schema,
        source: pa.Schema,
        constants: Collection[str] = (MODEL_VERSION,),
    ) -> None:
        """``schema`` is the published schema, ``source`` the schema of the input.

        Args:
            constants: published columns with one value.
        """
        self._constants = constants
        self.target, self.quarantine = target, quarantine
        shown = [pa.field(quarantined_name(f.name), published_type(f.type)) for f in source]
        self._shown = pa.schema({f.name: f for f in shown}.values())
        self.rows = self.good_rows = 0
        self.reasons: Counter[str] = Counter()
        self._bad: pq.ParquetWriter | None = None
        self._held: list[pa.RecordBatch] = []
        self._held_rows = self._held_bytes = 0
        self._schema = schema
        self._good: pq.ParquetWriter | None = None

    def add(self, scored: pa.RecordBatch, bad: pa.RecordBatch | None) -> None:
        """Keep a batch.

        Args:
            scored: the rows to publish, with the published schema.
            bad: the rows to quarantine, with their ``reason``.
        """
        self.rows += scored.num_rows
        if bad is not None:
            self.rows += bad.num_rows
            bad = restored(_plain(bad), self._shown)
            self._bad = self._bad or pq.ParquetWriter(self.quarantine, bad.schema)
            self._bad.write_batch(bad)
            self.reasons.update(bad.column("reason").to_pylist())
        self.good_rows += scored.num_rows
        if scored.num_rows:
            self._held.append(scored)
            self._held_rows += scored.num_rows
            self._held_bytes += scored.nbytes
            if self._held_rows >= _GROUP_ROWS or self._held_bytes >= _GROUP_BYTES:
                self._flush()

    def _flush(self) -> None:
        if self._held:
            table = restored(pa.Table.from_batches(self._held), self._schema)
            self._good = self._good or self._writer(table.schema)
            self._good.write_table(table)
        self._held, self._held_rows, self._held_bytes = [], 0, 0

    def _writer(self, schema: pa.Schema) -> pq.ParquetWriter:
        """Text from dictionaries is written as dictionaries; the file's schema says plain text."""
        # Dictionaries pay off for text that repeats; for keys and scores they only cost time.
        words = [f.name for f in self._schema if pa.types.is_string(f.type)]
        writer = pq.ParquetWriter(
            self.target, schema, use_dictionary=[*words, *self._constants], store_schema=False
        )
        stored = base64.b64encode(self._schema.serialize().to_pybytes())
        writer.add_key_value_metadata({"ARROW:schema": stored.decode()})
        return writer

    def __enter__(self) -> Staging:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
            self._good = self._good or self._writer(self._schema)
        if self._good is not None:
            self._good.close()
        if self._bad is not None:
            self._bad.close()
        if kind is None:
            for path in (self.target, self.quarantine):
                if path.exists():
                    with open(path, "rb") as file:
                        os.fsync(file.fileno())


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch without dictionaries."""
    return pa.RecordBatch.from_arrays([plain(c) for c in batch.columns], names=batch.schema.names)
