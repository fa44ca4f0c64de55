"""What the columns of a partition's files are, and whether they fit model and output."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from nocturne.columns.fitting import absent, casts, check_columns, check_output
from nocturne.columns.normal import COARSE, FINE, plain_type, published_type, with_types
from nocturne.columns.values import kind
from nocturne.errors import InputError
from nocturne.model.encoding import Encoding
from nocturne.records import InputFile, Partition
from nocturne.source.path_columns import keys_of, unheld
from nocturne.source.reading import read_schema

__all__ = ["check_schema", "given_types", "keys_as_columns"]


def check_schema(
    folder: Path,
    files: Sequence[InputFile],
    encoding: Encoding,
    columns: Sequence[str],
    asked: Sequence[str] = (),
    *,
    told: Mapping[str, str] = {},
    cast_text: bool = False,
    unique: Sequence[str] = (),
    given: pa.RecordBatch | None = None,
) -> tuple[pa.Schema, pa.Schema]:
    """The table's schema, once every file has what the model and the output need.

    It is that of the first file. A column without a type (all its values are null) has the type of
    other files, or the model's; times without zone that some files have in microseconds (as INT96
    is read) and others in nanoseconds are taken in microseconds. These columns are given a second
    time, apart. Files without rows say nothing.

    Args:
        columns: keys and passthrough columns.
        asked: columns that expectations read.
        told: ``input.cast``, column -> target.
        cast_text: text will do where the model wants numbers.
        unique: keys that are looked through for doubles.
        given: columns of the files' paths (``nocturne.source.path_columns``).

    Raises:
        InputError: names each file and column that is missing or of a wrong type.
    """
    counted = [f for f in files if f.rows] or list(files)
    schemas = {f.path: read_schema(folder / f.path, given) for f in counted}
    whole, origin = _together(schemas)
    problems, coarse = [], set[str]()
    for path, schema in schemas.items():
        found = check_columns(encoding, schema, told, cast_text=cast_text)
        found += check_output(encoding, schema, columns, unique)
        for name in dict.fromkeys((*columns, *asked)):
            if name not in whole.names:
                continue
            if said := absent(schema, name):
                if name not in columns:
                    there = name in schema.names
                    found.append(said if there else f"{said}, which an expectation reads")
                continue
            if name not in origin:  # as is said of the first file
                continue
            one, other = whole.field(name).type, schema.field(name).type
            same = published_type if name in columns else kind
            if {one, other} == {COARSE, FINE}:
                coarse |= {name} & {*columns}
            elif not pa.types.is_null(other) and same(one) != same(other):
                found.append(
                    f"column {name!r} is {plain_type(other)}, in {origin[name]} it is "
                    f"{plain_type(one)}"
                )
        problems += [f"{path}: {problem}" for problem in found]
    if problems:
        shown = "\n  ".join(problems[:20])
        more = f"\n  and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise InputError(
            f"the data in {folder} does not fit the model:\n  {shown}{more}\n"
            f"It has the columns {', '.join(whole.names)}. Correct the data or the YAML, or log "
            "the model with an encoding of these columns",
            problems=problems,
        )
    wanted = casts(encoding, whole, told)
    fields = [
        field.with_type(COARSE)
        if field.name in coarse
        else field.with_type(wanted[field.name].type)
        if pa.types.is_null(field.type) and field.name in wanted
        else field
        for field in whole
    ]
    untyped = {f.name for s in schemas.values() for f in s if pa.types.is_null(f.type)}
    given = coarse | (untyped & origin.keys())
    known = [f for f in fields if f.name in given and not pa.types.is_null(f.type)]
    return pa.schema(fields), pa.schema(known)


def _together(schemas: Mapping[str, pa.Schema]) -> tuple[pa.Schema, dict[str, str]]:
    """The first schema, with the types that its columns without one have in others.

    And of each of its columns that is there once the file that its type is from.
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
            at = schema.get_field_index(field.name)
            if at >= 0 and not pa.types.is_null(schema.field(at).type):
                fields[number], origin[field.name] = schema.field(at), path
                break
    return pa.schema(fields), origin


def given_types(
    folder: Path,
    files: Sequence[InputFile],
    types: pa.Schema,
    names: Collection[str],
    given: pa.RecordBatch | None = None,
) -> dict[str, dict[str, str]]:
    """File -> column of ``names`` -> the type that it has from other files, or from the model.

    Other files are part of what is made of a file only so: one that comes late changes no more.
    And of a column of its path the type and the value.

    Args:
        types: what ``check_schema`` gives apart.
        given: columns of the files' paths, a row a file.
    """
    found: dict[str, dict[str, str]] = {}
    for file in files if len(types) else ():
        own = read_schema(folder / file.path)
        others = {
            wanted.name: str(wanted.type)
            for field, wanted in zip(own, with_types(own, types), strict=True)
            if field.type != wanted.type and field.name in names
        }
        if others:
            found[file.path] = others
    for column in given.schema.names if given is not None else ():
        assert given is not None
        for file, value in zip(files, given.column(column), strict=True):
            found.setdefault(file.path, {})[column] = f"{value.type}: {value.as_py()!r}"
    return found


def keys_as_columns(
    folder: Path,
    files: Sequence[InputFile],
    partition: Partition,
    names: Collection[str],
    *,
    parquet: bool = True,
) -> tuple[str, ...]:
    """The keys of the files' paths among ``names``, without those that a file holds itself.

    Args:
        parquet: the files have footers that say what they hold; else the reader will.

    Raises:
        InputError: such a key is there twice.
    """
    found = [key for key in keys_of(partition, (f.path for f in files)) if key in names]
    if found and parquet:
        found = unheld(found, {name for f in files for name in read_schema(folder / f.path).names})
    if doubled := sorted({key for key in found if found.count(key) > 1}):
        raise InputError(
            f"{folder / files[0].path} has the key {', '.join(doubled)} twice in its path; which "
            "one is meant as the column? Rename the folders",
            path=str(folder),
        )
    return tuple(found)
