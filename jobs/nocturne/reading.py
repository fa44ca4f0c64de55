"""Reading a split: whole row groups of one Parquet file, in batches, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from nocturne.errors import InputChanged, InputError
from nocturne.records import InputFile

__all__ = ["check_unchanged", "open_parquet", "read_batches"]

_PAGE_BYTES = 1 << 20
"""Read from a column chunk at once: memory then does not grow with the row groups."""
_SHORT = 3
"""Bytes a value: where a writer gave its dictionary up, there are more."""


def check_unchanged(path: Path, planned: InputFile) -> None:
    """Raises: InputChanged if the file is no longer the one that was planned."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        raise InputChanged(f"{path} was deleted after planning; run the partition again") from None
    now = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
    if now != (planned.size, planned.mtime_ns, planned.inode):
        raise InputChanged(
            f"{path} changed after planning (size, time or inode): nothing of it was published. "
            "Run the partition again",
            path=str(path),
        )


def open_parquet(path: Path) -> pq.ParquetFile:
    """A file whose words come as dictionaries where it stores them so.

    They are then neither copied row by row, nor hashed again when they are written.

    Raises:
        InputError: it is not a readable Parquet file.
    """
    try:
        footer = pq.read_metadata(path)
        return pq.ParquetFile(
            path,
            metadata=footer,
            buffer_size=_PAGE_BYTES,
            pre_buffer=False,
            read_dictionary=_dictionaries(footer),
        )
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} can't be opened as Parquet: {error}", path=str(path)) from None


def _dictionaries(footer: pq.FileMetaData) -> list[str]:
    """Flat text columns whose row groups are a dictionary and short indices, all of them."""
    found = []
    for position, field in enumerate(footer.schema.to_arrow_schema()):
        if not pa.types.is_string(field.type) or position >= footer.num_columns:
            continue
        chunks = [footer.row_group(i).column(position) for i in range(footer.num_row_groups)]
        if all(
            c.path_in_schema == field.name
            and c.has_dictionary_page
            and c.total_uncompressed_size < _SHORT * c.num_values + _PAGE_BYTES
            for c in chunks
        ):
            found.append(field.name)
    return found


def read_batches(
    source: pq.ParquetFile, path: Path, row_groups: Sequence[int], columns: list[str], rows: int
) -> Iterator[pa.RecordBatch]:
    """Batches of ``rows`` rows of the row groups, in order; only the last one may be shorter.

    While one row group is decoded, the kernel is asked to read the next one from the disk,
    which takes no thread of ours.

    Raises:
        InputError: a page can't be decoded.
    """
    with open(path, "rb") as file:
        _will_need(file.fileno(), source, row_groups[:1])
        asked, end = 0, 0
        done = 0
        try:
            for batch in source.iter_batches(
                batch_size=rows, row_groups=list(row_groups), columns=columns, use_threads=False
            ):
                while done >= end and asked < len(row_groups):
                    end += source.metadata.row_group(row_groups[asked]).num_rows
                    asked += 1
                    _will_need(file.fileno(), source, row_groups[asked : asked + 1])
                done += batch.num_rows
                yield batch
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"{path.name}: row groups {row_groups[0]} to {row_groups[-1]} can't be decoded: "
                f"{error}. Have the file written again",
                path=str(path),
            ) from None


def _will_need(handle: int, source: pq.ParquetFile, groups: Sequence[int]) -> None:
    for group in groups:
        footer = source.metadata.row_group(group)
        chunks = [footer.column(i) for i in range(footer.num_columns)]
        starts = [c.dictionary_page_offset or c.data_page_offset for c in chunks]
        length = sum(c.total_compressed_size for c in chunks)
        with suppress(AttributeError, OSError):  # advice: not given on macOS
            os.posix_fadvise(handle, min(starts), length, os.POSIX_FADV_WILLNEED)
