"""Compares a published partition with its manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from nocturne.objects import Location
from nocturne.objects.reading import native
from nocturne.records.manifest import Manifest, OutputFile, StoredFile
from nocturne.store.files import file_digest
from nocturne.table.rearranged import difference
from nocturne.table_formats.protocol import TablePartition

__all__ = ["Problem", "verify"]


@dataclass(frozen=True)
class Problem:
    """A problem of a file, or of the whole partition (``file`` is "")."""

    file: str
    problem: str


def verify(table: TablePartition, manifest: Manifest, columns: Sequence[str]) -> list[Problem]:
    """Compare the files, hashes, counts and schema of a partition with its manifest.

    Args:
        columns: the columns of every published file, in order.
    """
    if table.is_rearranged(manifest):
        problems = [Problem("", why)] if (why := difference(table, manifest)) else []
    else:
        problems = _files(table, manifest, columns)
    for file in manifest.quarantine:
        file_problems, _ = _file(table.state.quarantine_file(manifest.run_key, file.path), file)
        problems += [Problem(f"quarantine/{file.path}", problem) for problem in file_problems]
    for stored in (manifest.run, manifest.judgement):
        problems += [Problem(stored.path, problem) for problem in _stored(table, stored)]
    return problems + _counts(manifest)


def _files(table: TablePartition, manifest: Manifest, columns: Sequence[str]) -> list[Problem]:
    known = {file.path for file in manifest.outputs}
    problems = [Problem(name, "is in no manifest") for name in sorted(table.files().keys() - known)]
    schemas: dict[str, pa.Schema] = {}
    for file in manifest.outputs:
        file_problems, schema = _file(table.file(file.path), file)
        problems += [Problem(file.path, problem) for problem in file_problems]
        if schema is not None:
            schemas[file.path] = schema
    # The files of another program may differ in how they say their types.
    return problems if manifest.adopted else problems + _schemas(schemas, columns)


def _stored(table: TablePartition, stored: StoredFile) -> list[str]:
    path = table.state.stored(stored)
    if not path.is_file():
        return ["is missing"]
    if stored.sha256 and file_digest(path) != stored.sha256:
        return ["has changed since the scores were published (sha256 differs)"]
    return []


def _file(path: Location, file: OutputFile) -> tuple[list[str], pa.Schema | None]:
    if not path.is_file():
        return ["is missing"], None
    size = path.stat().st_size
    if size != file.size:
        return [f"has {size} bytes, the manifest says {file.size}"], None
    if file_digest(path) != file.sha256:
        return ["has other bytes than were published (sha256 differs)"], None
    try:
        footer = pq.read_metadata(native(path))
        schema = footer.schema.to_arrow_schema()
    except (pa.ArrowException, OSError) as error:
        return [f"is not a readable Parquet file: {error}"], None
    if footer.num_rows != file.rows:
        return [f"has {footer.num_rows} rows, the manifest says {file.rows}"], schema
    return [], schema


def _schemas(schemas: dict[str, pa.Schema], columns: Sequence[str]) -> list[Problem]:
    problems = []
    first: pa.Schema | None = None
    for name, schema in schemas.items():
        first = first or schema
        if schema.names != list(columns):
            problem = f"has the columns {', '.join(schema.names)}, expected {', '.join(columns)}"
            problems.append(Problem(name, problem))
        elif not schema.equals(first):
            problems.append(Problem(name, "has other types than the first file"))
    return problems


def _counts(manifest: Manifest) -> list[Problem]:
    published = sum(file.rows for file in manifest.outputs)
    quarantined = sum(file.rows for file in manifest.quarantine)
    pairs = [
        ("rows of its output files", published, "published", manifest.rows_published),
        ("rows of its quarantine files", quarantined, "quarantined", manifest.rows_quarantined),
    ]
    if manifest.adopted != "rows":
        together = published + quarantined
        pairs.append(("published and quarantined rows", together, "read", manifest.rows_in))
    return [
        Problem("", f"the {counted} are {actual}, the manifest says {expected} were {verb}")
        for counted, actual, verb, expected in pairs
        if actual != expected
    ]
