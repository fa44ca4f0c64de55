"""Parquet files that the workers read themselves, whole row groups at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nocturne.errors import InputError
from nocturne.objects import Location
from nocturne.records.partition import Partition
from nocturne.records.plan import InputFile, Piece, located
from nocturne.source.fingerprints import fingerprints
from nocturne.source.path_columns import columns_of_paths
from nocturne.source.protocol import InputTable, Needs, Seen
from nocturne.source.reading import read_footer
from nocturne.source.schemas import check_schema, inferred_types, keys_as_columns

__all__ = ["ParquetFiles", "cut"]


@dataclass(frozen=True)
class ParquetFiles:
    """The files of a partition.

    Attributes:
        table: the table that the partition is in.
        cache: the file that caches the hashes.
        key_formats: partition key -> its strftime format or fixed value.
        cast, cast_text: ``input.cast`` and ``input.cast_text``.
        split_rows, split_bytes: the largest size of a split.
        content: whether a file's fingerprint is the hash of its bytes (``input.fingerprint``).
    """

    table: InputTable
    partition: Partition
    cache: Location
    key_formats: Mapping[str, str] = field(default_factory=dict)
    cast: Mapping[str, str] = field(default_factory=dict)
    cast_text: bool = False
    split_rows: int = 1 << 20
    split_bytes: int = 256 << 20
    content: bool = True

    def look(self, needs: Needs) -> Seen:
        """The files and their schema, once they are known to fit.

        Raises:
            InputError: the input is missing, empty or damaged, or does not fit the needs.
            NotReady, InputChanged: files are being written.
        """
        listing = self.table.listing(self.partition)
        folder = listing.folder
        files = fingerprints(listing, self.cache, content=self.content)
        names = [file.path for file in files]
        keys = keys_as_columns(folder, files, self.partition, {*needs.read, *needs.expected})
        expected = needs.expected if needs.counted else ()
        path_columns = columns_of_paths(self.partition, self.key_formats, names, keys)
        of_paths = {f.name: f.type for f in path_columns.schema} if path_columns else {}
        if problems := listing.problems({*needs.read, *needs.expected, *needs.unique}, of_paths):
            shown = "\n  ".join(problems[:20])
            raise InputError(
                f"the files of partition {self.partition.key} are not what readers of the table "
                f"see:\n  {shown}\nHave the partition rewritten, or leave these columns out",
                problems=problems,
            )
        schema, types = check_schema(
            folder,
            files,
            needs.encoding,
            needs.columns,
            expected,
            cast=self.cast,
            cast_text=self.cast_text,
            unique=needs.unique,
            path_columns=path_columns,
        )
        return Seen(
            files,
            cut(folder, files, max_rows=self.split_rows, max_bytes=self.split_bytes),
            schema,
            types,
            paths=[located(folder, file) for file in files],
            rows=sum(file.rows for file in files),
            path_keys=keys,
            path_columns=path_columns,
            inferred_types=inferred_types(
                folder, files, types, {*needs.read, *expected}, path_columns
            ),
            counted=needs.counted,
            version=listing.version,
            folder=folder,
        )


def cut(
    folder: Location, files: Sequence[InputFile], *, max_rows: int, max_bytes: int
) -> list[Piece]:
    """Pieces of whole row groups of one file, each up to so many rows and bytes."""
    pieces = []
    for file in files:
        footer = read_footer(located(folder, file))
        groups: list[int] = []
        rows = size = start = 0
        for number in range(footer.num_row_groups):
            group = footer.row_group(number)
            if groups and (
                rows + group.num_rows > max_rows or size + group.total_byte_size > max_bytes
            ):
                pieces.append(Piece(file, tuple(groups), start, rows))
                start, groups, rows, size = start + rows, [], 0, 0
            groups.append(number)
            rows += group.num_rows
            size += group.total_byte_size
        if rows:
            pieces.append(Piece(file, tuple(groups), start, rows))
    return pieces
