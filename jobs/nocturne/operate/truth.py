"""Truth: the labels of published nights, joined to their scores by key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nocturne.columns.normal import plain_type
from nocturne.columns.types import is_text
from nocturne.config import Loaded
from nocturne.config.models import Labels
from nocturne.encoding import MODEL_VERSION
from nocturne.errors import ConfigError, InputError, NocturneError, StateError, choices
from nocturne.hiding import redacted
from nocturne.objects import Location
from nocturne.objects.reading import native
from nocturne.pipeline.nights import PublishedNights
from nocturne.pipeline.places import Places, folders_of
from nocturne.records.manifest import Manifest
from nocturne.records.partition import Partition
from nocturne.records.truth import Truth, TruthPart
from nocturne.store.files import children, digest, file_digest
from nocturne.store.partition_state import PartitionState, now
from nocturne.store.record_files import read, write
from nocturne.store.run import Run
from nocturne.truth import Kind, Tally

__all__ = ["NightTruth", "truths_of"]

_MOST = 20_000_000
"""Rows of a night that are joined in memory: each takes some hundred bytes."""


@dataclass(frozen=True)
class NightTruth:
    """The truth of a night; ``problem``: why there is none."""

    partition: str
    truth: Truth | None
    problem: str = ""


def truths_of(loaded: Loaded, nights: Sequence[Partition]) -> list[NightTruth]:
    """The truth of each night, counted now unless the same labels were counted before.

    Raises:
        ConfigError: the pipeline has no ``labels``.
    """
    labels = loaded.pipeline.labels
    if labels is None:
        raise ConfigError(
            f"{loaded.pipeline.name} has no labels (labels: in conf/pipelines/"
            f"{loaded.pipeline.name}.yaml)"
        )
    found = []
    for night in nights:
        try:
            found.append(NightTruth(night.key, _truth(loaded, labels, night)))
        except NocturneError as error:
            found.append(NightTruth(night.key, None, str(error)))
        except pa.ArrowException as error:
            why = f"scores and labels can't be joined: {redacted(error)}"
            found.append(NightTruth(night.key, None, why))
    return found


def _truth(loaded: Loaded, labels: Labels, night: Partition) -> Truth:
    nights = PublishedNights(loaded)
    manifest = nights.manifest(night)
    files = _label_files(loaded, labels, night)
    state = nights.state_of(night)
    asked = digest(labels.column, labels.positive, labels.output, labels.kind, _key(loaded, labels))
    hashes = digest(asked, [(path.name, file_digest(path)) for path in files])
    known = _known(state)
    if known and (known[-1].labels, known[-1].manifest) == (hashes, manifest.id):
        return known[-1]
    run = Run.at(state, manifest.run_key)
    output = _output(labels, run)
    scores = _scores(loaded, labels, manifest, output)
    truth = _counted(loaded, labels, scores, _labels(loaded, labels, files, scores.schema), output)
    while True:
        number = known[-1].number + 1 if known else 1
        made = Truth(number, now(), manifest.id, hashes, **truth)
        if write(state.place("truth") / f"{number:06d}.json", made, exclusive=True):
            return made
        known = _known(state)  # another process has counted too
        if (known[-1].labels, known[-1].manifest) == (hashes, manifest.id):
            return known[-1]


def _known(state: PartitionState) -> list[Truth]:
    files = [path for path in children(state.place("truth")) if path.suffix == ".json"]
    return [read(Truth, path) for path in sorted(files, key=lambda path: path.name)]


def _key(loaded: Loaded, labels: Labels) -> list[str]:
    return labels.key or list(loaded.pipeline.output.keys)


def _label_files(loaded: Loaded, labels: Labels, night: Partition) -> list[Location]:
    table = folders_of(loaded.location(labels.path))
    files = list(table.listing(night).files) if table.has(night) else []
    if not files:
        raise InputError(f"there are no labels for {night.key} in {table.folder(night)} yet")
    return files


def _output(labels: Labels, run: Run) -> str:
    """The column of the scores that is compared. Raises: ConfigError if there is none."""
    numbers = run.plan.encoding.numbers
    if labels.output is None and numbers:
        return numbers[0]
    if labels.output in numbers:
        return labels.output
    raise ConfigError(
        f"labels.output: got {labels.output!r}, expected a prediction that is a number: the night "
        f"has {choices(numbers) or 'none'}"
    )


def _scores(loaded: Loaded, labels: Labels, manifest: Manifest, output: str) -> pa.Table:
    if manifest.rows_published > _MOST:
        raise InputError(
            f"{manifest.partition.key} has {manifest.rows_published:,} rows, and at most {_MOST:,} "
            "are joined with labels in memory"
        )
    table = Places.of(loaded).output(manifest.partition)
    names = list(dict.fromkeys([*_key(loaded, labels), output, MODEL_VERSION]))
    try:
        files = [pq.ParquetFile(native(table.file(file.path))) for file in manifest.outputs]
        if missing := [n for n in names if files and n not in files[0].schema_arrow.names]:
            raise ConfigError(
                f"labels.key names {choices(missing)}, which the scores do not have: publish it "
                "(output.keys, output.passthrough), or name others"
            )
        return pa.concat_tables([_plain(file.read(columns=names)) for file in files])
    except FileNotFoundError as error:
        raise StateError(
            f"a file of the scores of {manifest.partition.key} is gone, or another program has "
            f"arranged them anew: {error}. `nocturne verify` says more"
        ) from None


def _labels(
    loaded: Loaded, labels: Labels, files: Sequence[Location], scores: pa.Schema
) -> pa.Table:
    """The labels by key, in the types of the scores' keys.

    Raises:
        InputError: a column is missing or of another type, or a key is there twice.
    """
    names = _key(loaded, labels)
    parts = []
    for path in files:
        file = pq.ParquetFile(native(path))
        if missing := [n for n in (*names, labels.column) if n not in file.schema_arrow.names]:
            raise InputError(f"{path} has no column {choices(missing)}, which labels need")
        part = _plain(file.read(columns=[*names, labels.column]))
        parts.append(_as_keys(part, names, scores).rename_columns([*names, _LABEL]))
    table = pa.concat_tables(parts, promote_options="permissive")
    if pa.types.is_null(table.schema.field(_LABEL).type):  # none has a label
        at = table.schema.get_field_index(_LABEL)
        table = table.set_column(at, _LABEL, table[_LABEL].cast(pa.bool_()))
    if (rows := table.num_rows) != (keys := table.group_by(names).aggregate([]).num_rows):
        raise InputError(
            f"the labels have {rows:,} rows, of only {keys:,} keys ({', '.join(names)}): which one "
            "of several counts? Name more columns (labels.key), or have one label a key"
        )
    return table


_LABEL = "__label"


def _as_keys(part: pa.Table, names: Sequence[str], scores: pa.Schema) -> pa.Table:
    """The labels with their keys in the types of the scores'.

    Raises:
        InputError: a key is of another type.
    """
    for name in names:
        ours, theirs = scores.field(name).type, part.schema.field(name).type
        try:
            zones = [getattr(type_, "tz", None) is None for type_ in (ours, theirs)]
            if pa.types.is_timestamp(ours) and zones[0] != zones[1]:
                raise pa.ArrowInvalid("one of them has a time zone")
            column = part[name].cast(ours)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise InputError(
                f"the labels' key {name!r} is {theirs}, the scores' is {ours}, and some value "
                "can't be taken for one of the other type"
            ) from None
        part = part.set_column(part.schema.get_field_index(name), name, column)
    return part


def _plain(table: pa.Table) -> pa.Table:
    """The table without dictionaries."""
    return table.cast(pa.schema([f.with_type(plain_type(f.type)) for f in table.schema]))


def _counted(
    loaded: Loaded, labels: Labels, scores: pa.Table, truths: pa.Table, output: str
) -> Mapping[str, Any]:
    names = _key(loaded, labels)
    if scores.group_by(names).aggregate([]).num_rows != scores.num_rows:
        raise InputError(
            f"the scores have keys ({', '.join(names)}) more than once, so one label would count "
            "for several rows: name more columns (labels.key)"
        )
    joined = scores.join(truths, names, join_type="left outer")
    label = joined[_LABEL]
    there = pc.and_(label.is_valid(), joined[output].is_valid())
    if pa.types.is_floating(label.type):
        there = pc.and_(there, pc.invert(pc.is_nan(label)).fill_null(False))
    known = joined.filter(there)
    found = truths.join(scores.select(names), names, join_type="left semi").num_rows
    kind, values = _values(labels, known[_LABEL])
    predicted = known[output].cast(pa.float64()).to_numpy()
    versions = known[MODEL_VERSION].to_numpy()
    parts = {"all": _part(kind, predicted, values)}
    for version in sorted(pc.unique(joined[MODEL_VERSION]).to_pylist()):
        mine = versions == version
        parts[f"version {version}"] = _part(kind, predicted[mine], values[mine])
    return {
        "kind": kind,
        "output": output,
        "rows": known.num_rows,
        "unlabelled": scores.num_rows - known.num_rows,
        "unscored": truths.num_rows - found,
        "parts": parts,
    }


def _values(labels: Labels, column: pa.ChunkedArray) -> tuple[Kind, NDArray[Any]]:
    """The kind of the labels, and their values as booleans or numbers.

    Raises:
        InputError: they are neither, or not of the type of ``labels.positive``.
    """
    type_, positive = column.type, labels.positive
    is_number = pa.types.is_integer(type_) or pa.types.is_floating(type_)
    if positive is not None:
        of_type = {bool: pa.types.is_boolean(type_), int: is_number, str: is_text(type_)}
        if not of_type[type(positive)]:
            raise InputError(
                f"labels.positive is {positive!r}, and the label {labels.column!r} is {type_}: say "
                "a value of that type"
            )
        same = pc.equal(column, pa.scalar(positive).cast(type_))
        return "classes", same.to_numpy().astype(bool)
    if pa.types.is_boolean(type_):
        kind = labels.kind or "classes"
        return kind, column.to_numpy().astype(bool if kind == "classes" else np.float64)
    if not is_number:
        raise InputError(
            f"the label {labels.column!r} is {type_}: say which value is the positive one "
            "(labels.positive)"
        )
    values = column.cast(pa.float64()).to_numpy()
    are_two = {*np.unique(values)} <= {0.0, 1.0}
    if labels.kind == "classes" and not are_two:
        raise InputError(
            f"the label {labels.column!r} has other values than 0 and 1: say which one is the "
            "positive one (labels.positive)"
        )
    if labels.kind == "classes" or (labels.kind is None and pa.types.is_integer(type_) and are_two):
        return "classes", values.astype(bool)
    if not np.isfinite(values).all():
        raise InputError(f"the label {labels.column!r} has values that are not finite")
    return "numbers", values


def _part(kind: Kind, predicted: NDArray[np.float64], values: NDArray[Any]) -> TruthPart:
    rows = Tally(kind)
    rows.add(predicted, values)
    return TruthPart(rows.figures(), tuple((b.rows, b.score, b.positive) for b in rows.bins()))
