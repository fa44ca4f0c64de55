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

from nocturne.config import Loaded
from nocturne.config.models import Labels
from nocturne.encoding import MODEL_VERSION, NUMBERS
from nocturne.errors import ConfigError, InputError, NocturneError, StateError, choices
from nocturne.objects import Location, ObjectPath
from nocturne.objects.reading import native
from nocturne.pipeline.nights import PublishedNights
from nocturne.pipeline.places import Places
from nocturne.records.manifest import Manifest
from nocturne.records.partition import Partition
from nocturne.records.truth import Truth, TruthPart
from nocturne.source.folders import InputFolders
from nocturne.source.objects import InputObjects
from nocturne.store.files import children, digest, file_digest
from nocturne.store.partition_state import PartitionState, now
from nocturne.store.record_files import read, write
from nocturne.store.run import Run
from nocturne.truth import binary_figures, number_figures, reliability

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
    number = known[-1].number + 1 if known else 1
    truth = _counted(loaded, labels, scores, _labels(loaded, labels, files, scores.schema), output)
    made = Truth(number, now(), manifest.id, hashes, **truth)
    place = state.place("truth") / f"{number:06d}.json"
    if not write(place, made, exclusive=True):
        return _known(state)[-1]  # another process has counted it too
    return made


def _known(state: PartitionState) -> list[Truth]:
    files = [path for path in children(state.place("truth")) if path.suffix == ".json"]
    return [read(Truth, path) for path in sorted(files, key=lambda path: path.name)]


def _key(loaded: Loaded, labels: Labels) -> list[str]:
    return labels.key or list(loaded.pipeline.output.keys)


def _label_files(loaded: Loaded, labels: Labels, night: Partition) -> list[Location]:
    place = loaded.location(labels.path)
    table = InputObjects(place) if isinstance(place, ObjectPath) else InputFolders(place)
    if not table.has(night):
        raise InputError(f"there are no labels for {night.key} in {table.folder(night)} yet")
    return list(table.listing(night).files)


def _output(labels: Labels, run: Run) -> str:
    """The column of the scores that is compared. Raises: ConfigError if there is none."""
    numbers = [o.name for o in run.plan.encoding.outputs if o.type in NUMBERS and not o.length]
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
    names = [*_key(loaded, labels), output, MODEL_VERSION]
    try:
        files = [pq.ParquetFile(native(table.file(file.path))) for file in manifest.outputs]
        return pa.concat_tables([file.read(columns=names) for file in files])
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
        parts.append(file.read(columns=[*names, labels.column]))
    table = pa.concat_tables(parts, promote_options="default")
    for name in names:
        at = table.schema.get_field_index(name)
        try:
            column = table[name].cast(scores.field(name).type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InputError(
                f"the labels' key {name!r} is {table.schema.field(name).type}, and the scores' "
                f"{scores.field(name).type}: {error}"
            ) from None
        table = table.set_column(at, name, column)
    table = table.rename_columns([*names, _LABEL])
    if (rows := table.num_rows) != (keys := table.group_by(names).aggregate([]).num_rows):
        raise InputError(
            f"the labels have {rows:,} rows, of only {keys:,} keys ({', '.join(names)}): which one "
            "of several counts? Name more columns (labels.key), or have one label a key"
        )
    return table


_LABEL = "__label"


def _counted(
    loaded: Loaded, labels: Labels, scores: pa.Table, truths: pa.Table, output: str
) -> Mapping[str, Any]:
    names = _key(loaded, labels)
    joined = scores.join(truths, names, join_type="left outer")
    if joined.num_rows != scores.num_rows:
        raise InputError(f"the scores have keys ({', '.join(names)}) more than once")
    there = pc.and_(joined[_LABEL].is_valid(), joined[output].is_valid())
    known = joined.filter(there)
    found = truths.join(scores.select(names), names, join_type="left semi").num_rows
    kind, values = _values(labels, known[_LABEL])
    predicted = known[output].cast(pa.float64()).to_numpy()
    versions = known[MODEL_VERSION].to_numpy()
    parts = {"all": _part(kind, predicted, values)}
    for version in sorted({*joined[MODEL_VERSION].to_pylist()}):
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


def _values(labels: Labels, column: pa.ChunkedArray) -> tuple[str, NDArray[Any]]:
    """The kind of the labels, and their values as booleans or numbers.

    Raises:
        InputError: they are neither.
    """
    type_ = column.type
    if labels.positive is not None:
        text = column.cast(pa.string())
        expected = str(labels.positive).lower() if pa.types.is_boolean(type_) else labels.positive
        return "classes", pc.equal(text, str(expected)).to_numpy().astype(bool)
    if pa.types.is_boolean(type_):
        return "classes", column.to_numpy().astype(bool)
    if not (pa.types.is_integer(type_) or pa.types.is_floating(type_)):
        raise InputError(
            f"the label {labels.column!r} is {type_}: say which value is the positive one "
            "(labels.positive)"
        )
    values = column.cast(pa.float64()).to_numpy()
    if labels.kind == "classes" or (labels.kind is None and {*np.unique(values)} <= {0.0, 1.0}):
        if not {*np.unique(values)} <= {0.0, 1.0}:
            raise InputError(
                f"the label {labels.column!r} has other values than 0 and 1: say which one is the "
                "positive one (labels.positive)"
            )
        return "classes", values.astype(bool)
    if not np.isfinite(values).all():
        raise InputError(f"the label {labels.column!r} has values that are not finite")
    return "numbers", values


def _part(kind: str, predicted: NDArray[np.float64], values: NDArray[Any]) -> TruthPart:
    if kind == "numbers":
        return TruthPart(number_figures(predicted, values))
    figures = binary_figures(predicted, values)
    if "calibration_error" not in figures:
        return TruthPart(figures)
    bins = tuple((b.rows, b.score, b.positive) for b in reliability(predicted, values))
    return TruthPart(figures, bins)
