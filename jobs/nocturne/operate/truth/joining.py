"""Joins tables that are larger than memory by their key, bucket by bucket.

Rows with equal keys have equal hashes, so they lie in the same bucket, and each bucket is joined by
itself. The buckets of a small night stay in memory; those of a large one are files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.columns.key_hashes import key_hashes

__all__ = ["BUCKET_ROWS", "Buckets", "buckets_for", "repeated"]

BUCKET_ROWS = 1_000_000
"""Rows of a bucket; each takes some hundred bytes while it is joined."""


_MOST = 128
"""The most buckets of a table: each is an open file, and a process may have 1,024 of them."""


def buckets_for(rows: int) -> int:
    """The number of buckets for the rows of the largest table."""
    return min(_MOST, max(1, -(-rows // BUCKET_ROWS)))


class Buckets:
    """The rows of one table, in buckets by the hash of their key.

    Args:
        folder: where the files of the buckets are written, if there are several.
        name: of the table.
        schema: of what is added.
        keys: the columns of the key, whose types the other tables have too.
        count: the number of buckets, the same for all tables that are joined.
    """

    def __init__(
        self, folder: Path, name: str, schema: pa.Schema, keys: Sequence[str], count: int
    ) -> None:
        self.schema, self.rows = schema, 0
        self._keys, self._count = list(keys), count
        self._held: list[pa.Table] = []
        self._paths = [folder / f"{name}-{n}.arrow" for n in range(count if count > 1 else 0)]
        self._files = [pa.OSFile(str(path), "wb") for path in self._paths]
        self._writers = [pa.ipc.new_stream(file, schema) for file in self._files]

    def add(self, table: pa.Table) -> None:
        """Add rows; those with a null in the key have no bucket, and count in ``rows`` only."""
        has_key = None
        for at, field in enumerate(table.schema):
            if field.name in self._keys and pa.types.is_floating(field.type):
                # Arrow joins by bits, for which -0.0 is not 0.0, as it is for the hashes.
                unsigned = pc.add(table.column(at), pa.scalar(0, field.type))
                table = table.set_column(at, field, unsigned)
        for name in self._keys:
            if table[name].null_count:
                valid = table[name].is_valid()
                has_key = valid if has_key is None else pc.and_(has_key, valid)
        self.rows += table.num_rows
        if has_key is not None:
            table = table.filter(has_key)
        if not self._writers:
            self._held.append(table)
            return
        if not table.num_rows:
            return
        keys = [table[name].combine_chunks() for name in self._keys]
        places = key_hashes(keys) % np.uint64(self._count)
        order = np.argsort(places, kind="stable")
        ends = np.cumsum(np.bincount(places.astype(np.int64), minlength=self._count))
        ordered, start = table.take(pa.array(order)).combine_chunks(), 0
        for writer, end in zip(self._writers, ends, strict=True):
            if end > start:
                writer.write_table(ordered.slice(start, end - start))
            start = end

    def tables(self) -> Iterator[pa.Table]:
        """The buckets, one after the other; each is forgotten once it was given."""
        if not self._writers:
            yield pa.concat_tables(self._held or [self.schema.empty_table()])
            return
        for writer, file, path in zip(self._writers, self._files, self._paths, strict=True):
            writer.close()
            file.close()
            with pa.OSFile(str(path)) as source:
                table = pa.ipc.open_stream(source).read_all()
            with suppress(OSError):
                path.unlink()
            yield table


def repeated(table: pa.Table, keys: Sequence[str]) -> int:
    """Rows whose key another row before them has."""
    return int(table.num_rows - table.group_by(list(keys)).aggregate([]).num_rows)
