"""The columns of a partition's files, and whether they fit the model and the output."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pyarrow as pa

from nocturne.columns.normal import COARSE, FINE, plain_type, published_type, with_types
from nocturne.columns.values import kind
from nocturne.encoding import Encoding
from nocturne.errors import InputError
from nocturne.fitting import absent, casts, check_columns, check_output
from nocturne.objects import Location
from nocturne.records.partition import Partition
from nocturne.records.plan import InputFile, located
from nocturne.source.path_columns import keys_of, not_in_files
from nocturne.source.reading import read_schema, read_schemas

__all__ = ["check_schema", "inferred_types", "keys_as_columns"]


def check_schema(
    folder: Location,
    files: Sequence[InputFile],
    encoding: Encoding,
    columns: Sequence[str],
    expected: Sequence[str] = (),
    *,
    cast: Mapping[str, str] = {},
    cast_text: bool = False,
    unique: Sequence[str] = (),
    path_columns: pa.RecordBatch | None = None,
) -> tuple[pa.Schema, pa.Schema]:
    """The schema of the table, once every file has what the model and the output need.

    It is the schema of the first file. A column without a type (all its values are null) gets the
    type of other files, or the model's type. Times without zone that are in microseconds in some
    files (as INT96 is read) and in nanoseconds in others are read in microseconds. Files without
    rows are not compared.

    Args:
        columns: keys and passthrough columns.
        expected: columns that expectations read.
        cast: ``input.cast``, column -> target.
        cast_text: accept text where the model takes numbers.
        unique: keys that are checked for duplicates.
        path_columns: columns of the files' paths (``nocturne.source.path_columns``).

    Returns:
        The schema, and the part of it whose types some file does not have.

    Raises:
        InputError: a column of a file is missing or has a wrong type; the message names them all.
    """
    with_rows = [f for f in files if f.rows] or list(files)
    schemas = read_schemas(folder, with_rows, path_columns)
    merged, origin = _merged(schemas)
    problems, coarse = [], set[str]()
    for path, schema in schemas.items():
        file_problems = check_columns(encoding, schema, cast, cast_text=cast_text)
        file_problems += check_output(encoding, schema, columns, unique)
        for name in dict.fromkeys((*columns, *expected)):
            if name not in merged.names:
                continue
            if reason := absent(schema, name):
                if name not in columns:
                    exists = name in schema.names
                    file_problems.append(
                        reason if exists else f"{reason}, which an expectation reads"
                    )
                continue
            if name not in origin:  # the first file has this problem
                continue
            merged_type, own_type = merged.field(name).type, schema.field(name).type
            same = published_type if name in columns else kind
            if {merged_type, own_type} == {COARSE, FINE}:
                coarse |= {name} & {*columns}
            elif not pa.types.is_null(own_type) and same(merged_type) != same(own_type):
                file_problems.append(
                    f"column {name!r} is {plain_type(own_type)}, in {origin[name]} it is "
                    f"{plain_type(merged_type)}"
                )
        problems += [f"{path}: {problem}" for problem in file_problems]
    if problems:
        shown = "\n  ".join(problems[:20])
        more = f"\n  and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise InputError(
            f"the data in {folder} does not fit the model:\n  {shown}{more}\n"
            f"It has the columns {', '.join(merged.names)}. Correct the data or the YAML, or log "
            "the model with an encoding of these columns",
            problems=problems,
        )
    targets = casts(encoding, merged, cast)
    fields = [
        field.with_type(COARSE)
        if field.name in coarse
        else field.with_type(targets[field.name].type)
        if pa.types.is_null(field.type) and field.name in targets
        else field
        for field in merged
    ]
    untyped = {f.name for s in schemas.values() for f in s if pa.types.is_null(f.type)}
    resolved = coarse | (untyped & origin.keys())
    known = [f for f in fields if f.name in resolved and not pa.types.is_null(f.type)]
    return pa.schema(fields), pa.schema(known)


def _merged(schemas: Mapping[str, pa.Schema]) -> tuple[pa.Schema, dict[str, str]]:
    """The first schema, whose columns without a type get the type of another file.

    Also column -> the file that its type is from, for columns that occur once.
    """
    paths = list(schemas)
    first = schemas[paths[0]]
    fields, origin = list(first), {}
    for number, field in enumerate(first):
        if len(first.get_all_field_indices(field.name)) != 1:
            continue
        origin[field.name] = paths[0]
        for path in paths if pa.types.is_null(field.type) else ():
            schema = schemas[path]
            position = schema.get_field_index(field.name)
            if position >= 0 and not pa.types.is_null(schema.field(position).type):
                fields[number], origin[field.name] = schema.field(position), path
                break
    return pa.schema(fields), origin


def inferred_types(
    folder: Location,
    files: Sequence[InputFile],
    types: pa.Schema,
    names: Collection[str],
    path_columns: pa.RecordBatch | None = None,
) -> dict[str, dict[str, str]]:
    """File -> column of ``names`` -> the type that it has from other files, or from the model.

    For a column of the file's path, it is the type and the value. Nothing else of other files
    affects the scores of a file, so a late file changes no other.

    Args:
        types: the second schema of ``check_schema``.
        path_columns: columns of the files' paths, one row for each file.
    """
    inferred: dict[str, dict[str, str]] = {}
    for file in files if len(types) else ():
        own = read_schema(located(folder, file))
        borrowed = {
            target.name: str(target.type)
            for field, target in zip(own, with_types(own, types), strict=True)
            if field.type != target.type and field.name in names
        }
        if borrowed:
            inferred[file.path] = borrowed
    for column in path_columns.schema.names if path_columns is not None else ():
        assert path_columns is not None
        for file, value in zip(files, path_columns.column(column), strict=True):
            inferred.setdefault(file.path, {})[column] = f"{value.type}: {value.as_py()!r}"
    return inferred


def keys_as_columns(
    folder: Location,
    files: Sequence[InputFile],
    partition: Partition,
    names: Collection[str],
    *,
    parquet: bool = True,
) -> tuple[str, ...]:
    """The keys of the files' paths among ``names`` that are not columns of a file.

    Args:
        parquet: the files have footers with their columns; else only the reader knows them.

    Raises:
        InputError: such a key occurs twice.
    """
    keys = [key for key in keys_of(partition, (f.path for f in files)) if key in names]
    if keys and parquet:
        schemas = read_schemas(folder, files)
        keys = not_in_files(keys, {name for schema in schemas.values() for name in schema.names})
    if duplicates := sorted({key for key in keys if keys.count(key) > 1}):
        raise InputError(
            f"{folder / files[0].path} has the key {', '.join(duplicates)} twice in its path; "
            "which one is meant as the column? Rename the folders",
            path=str(folder),
        )
    return tuple(keys)
