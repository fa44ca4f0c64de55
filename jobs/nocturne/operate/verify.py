"""Verifies a published partition, and scores a sample of it again to compare."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nocturne import table
from nocturne.columns.normal import is_list, unpacked
from nocturne.config import Loaded, Pipeline
from nocturne.encoding import MODEL_VERSION
from nocturne.errors import ModelError, NocturneError, StateError
from nocturne.model import registry
from nocturne.model.copies import fetch_model
from nocturne.objects import Location, ObjectPath, local
from nocturne.objects.reading import native
from nocturne.pipeline.nights import PublishedNights
from nocturne.pipeline.places import Places
from nocturne.pipeline.publishing import environment
from nocturne.pipeline.required import check_models, required
from nocturne.pipeline.runs import require_arms
from nocturne.pipeline.signer import manifest_problem
from nocturne.records.manifest import Manifest
from nocturne.records.partition import Partition
from nocturne.records.plan import Arms, RunPlan, Split
from nocturne.source.fingerprints import current
from nocturne.store.files import digest, file_digest, scratch
from nocturne.store.record_files import content
from nocturne.store.run import Run
from nocturne.table import Problem, rows_with_keys
from nocturne.table_formats.protocol import TablePartition

__all__ = ["Replayed", "Verified", "published_columns", "verify_partition"]

TOLERANCE = 1e-5
"""The relative difference that another processor or another version of torch may make."""

_DECIDES_BITS = ("torch", "machine", "cpu")


@dataclass(frozen=True)
class Replayed:
    """How the rows of a split that was scored again compare with the published rows."""

    file: str
    outcome: Literal["bit-equal", "within tolerance", "different", "impossible"]
    detail: str = ""

    @property
    def ok(self) -> bool:
        return self.outcome in ("bit-equal", "within tolerance")


@dataclass(frozen=True)
class Verified:
    """The result of verifying one partition."""

    partition: str
    manifest: str
    output: str
    files: int
    rows: int
    problems: tuple[Problem, ...]
    replayed: tuple[Replayed, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems and all(replayed.ok for replayed in self.replayed)

    def as_json(self) -> dict[str, Any]:
        return {
            **{k: v for k, v in vars(self).items() if k not in ("problems", "replayed")},
            "ok": self.ok,
            "problems": [vars(problem) for problem in self.problems],
            "replayed": [vars(replayed) for replayed in self.replayed],
        }


def verify_partition(loaded: Loaded, partition: Partition, replay: int | None = 0) -> Verified:
    """Compare a published partition with its manifest; nothing is changed.

    A record of an unpublished run that can't be read is a problem too: a night may be held there.

    Args:
        replay: how many splits are scored again with the pinned model and compared; None: all.

    Raises:
        StateError: the partition is not published, or what may be held there can't be read.
        PublishError: the folder holds files that no manifest names.
    """
    places = Places.of(loaded)
    output = places.output(partition)
    unreadable = _unreadable_status(output)
    if unreadable is not None and output.in_force() is None:
        raise unreadable
    manifest = PublishedNights(loaded).manifest(partition)
    run = Run.at(output.state, manifest.run_key)
    if not run.plan.input_version:  # a folder, which may have been moved
        run = run.changed(input_dir=str(places.input(partition)))
    problems = table.verify(output, manifest, published_columns(run.plan))
    problems += _settings_problems(run) + _statistics_problems(run, manifest)
    if problem := manifest_problem(loaded, output.state, manifest):
        problems.append(Problem(f"manifests/{manifest.id}.json", problem))
    if problem := _model_problem(loaded, run, manifest):
        problems.append(Problem("", problem))
    if unreadable is not None:
        problems.append(Problem("", str(unreadable)))
    now = loaded.pipeline  # what may be loaded is set there, and not in the run
    replayed = _replay(run, manifest, output, replay, now) if replay != 0 else []
    return Verified(
        partition.key,
        manifest.id,
        str(output.location),
        len(manifest.outputs),
        manifest.rows_published,
        tuple(problems),
        tuple(replayed),
    )


def _model_problem(loaded: Loaded, run: Run, manifest: Manifest) -> str:
    """Why the models' files are not as ``model.require_*`` say; "" if they are, or need not be.

    Raises:
        RegistryUnavailable: the registry, which has digests and signatures, does not answer.
    """
    if not required(loaded.pipeline.model) or manifest.adopted:
        return ""
    try:
        check_models(loaded, run)
    except ModelError as error:
        return str(error)
    return ""


def _unreadable_status(output: TablePartition) -> StateError | None:
    """Why the status of the last run can't be read; None if it can."""
    try:
        output.state.status()
    except StateError as error:
        return error
    return None


def published_columns(plan: RunPlan) -> list[str]:
    """The columns of every published file of a run, in order."""
    outputs = [output.name for output in plan.encoding.outputs]
    of_partition = unpacked(plan.partition_columns).names
    return [*plan.keys, *plan.passthrough, *outputs, MODEL_VERSION, *of_partition]


def _settings_problems(run: Run) -> list[Problem]:
    """Settings other than those that were planned with; the plan holds their hash."""
    path = run.settings_file
    if not path.is_file():
        return []  # plans of version 1 contain them
    try:
        if digest(json.loads(content(path))) == run.plan.config_digest:
            return []
        problem = "has changed since the run was planned (its hash is not the plan's)"
    except (NocturneError, ValueError, RecursionError) as error:
        problem = f"can't be read: {error}"
    return [Problem(run.state.name_of(path), problem)]


def _statistics_problems(run: Run, manifest: Manifest) -> list[Problem]:
    """Counts and statistics that are not those of the night, where its manifest has their hashes.

    Records that are gone are no problem: then nothing is taken over from them.
    """
    hashes = {file.split: file.result for file in manifest.outputs}
    named = [(run.result_file(split), hashes.get(split.key, "")) for split in run.plan.splits]
    named.append((run.profile_file, manifest.profile_sha256))
    return [
        Problem(run.state.name_of(path), "has changed since the scores were published")
        for path, sha256 in named
        if sha256 and path.is_file() and file_digest(path) != sha256
    ]


def _replay(
    run: Run, manifest: Manifest, output: TablePartition, count: int | None, settings: Pipeline
) -> list[Replayed]:
    """Score some published splits again, chosen at random."""
    if run.plan.is_whole:
        reason = "a query is read by Spark as a whole; score the partition again with --force"
        return [Replayed("", "impossible", reason)]
    try:
        fetch_model(run)
        registry.require_loadable(run.plan.model, settings.model.allow_pickle)
        require_arms(run, settings)
    except NocturneError as error:
        return [Replayed("", "impossible", str(error))]
    if manifest.adopted == "rows":
        reason = "another program has changed its rows; score the partition again"
        return [Replayed("", "impossible", reason)]
    splits = {split.key: split for split in run.plan.splits}
    chosen: list[tuple[Split | None, str, Location | None]] = []
    if manifest.adopted or output.is_rearranged(manifest):
        chosen += [(split, f"split {split.index}", None) for split in run.plan.splits]
    else:
        files = manifest.outputs
        chosen += [(splits.get(f.split), f.path, output.file(f.path)) for f in files]
    if count is not None and count < len(chosen):
        positions = random.SystemRandom().sample(range(len(chosen)), count)
        chosen = [chosen[i] for i in sorted(positions)]
    changes = _environment_changes(manifest.environment)
    quarantined = {
        file.split: run.state.quarantine_file(manifest.run_key, file.path)
        for file in manifest.quarantine
    }
    with _scratch(run) as folder:
        replay_run = Run(folder, run.state, run.plan)

        def published(file: Location | None, replayed: pa.Table) -> pa.Table:
            if file is not None:
                return pq.ParquetFile(native(file)).read()
            return rows_with_keys(output, run.plan.keys, replayed)

        return [
            _replay_split(
                replay_run,
                split,
                name,
                partial(published, file),
                changes,
                quarantined.get(split.key) if split else None,
            )
            for split, name, file in chosen
        ]


@contextmanager
def _scratch(run: Run) -> Iterator[Path]:
    if isinstance(run.state.root, ObjectPath):
        with scratch("replay") as folder:
            yield folder
        return
    with tempfile.TemporaryDirectory(prefix=".replay-", dir=run.state.folder) as name:
        yield Path(name)


def _replay_split(
    run: Run,
    split: Split | None,
    name: str,
    published: Callable[[pa.Table], pa.Table],
    environment_changes: str,
    quarantine: Location | None = None,
) -> Replayed:
    """Score a split again and compare.

    Args:
        published: gives the published rows for those that were scored again.
        quarantine: the split's quarantined rows, which a challenger does not choose.
    """
    from nocturne.worker.beside import quarantined_rows
    from nocturne.worker.split import run_split

    planned = next((f for f in run.plan.files if split is not None and f.path == split.file), None)
    if split is None or planned is None:
        return Replayed(name, "impossible", "its run.json does not name it: it is damaged")
    source = run.plan.input_file(planned.path)
    try:
        if not source.is_file():
            return Replayed(name, "impossible", f"its input {source} is gone")
        if (now := current(source, planned)) is None:
            return Replayed(name, "impossible", f"its input {source} was changed since")
        files = tuple(now if f is planned else f for f in run.plan.files)
        shared = quarantined_rows(quarantine) if quarantine is not None else {}
        result = run_split(
            run.changed(files=files, arms=_in_peace(run.plan.arms)),
            split,
            quarantined=shared if run.plan.champion else None,
        )
    except NocturneError as error:
        return Replayed(name, "impossible", str(error))
    replayed_file = local(run.attempt(result.file))
    actual = pq.read_table(replayed_file)
    replayed_file.unlink()
    expected = published(actual)
    if _same_bits(expected, actual):
        return Replayed(name, "bit-equal")
    difference = _difference(expected, actual)
    if environment_changes and difference is None:
        return Replayed(name, "within tolerance", f"relative {TOLERANCE:g}; {environment_changes}")
    return Replayed(name, "different", difference or "in the last bits, on the same processor type")


def _in_peace(arms: Arms | None) -> Arms | None:
    """The same, with all the time that they want: nobody waits for a night."""
    if arms is None:
        return None
    return replace(arms, arms=tuple(replace(arm, budget=_ENDLESS) for arm in arms.arms))


_ENDLESS = 1e9


def _same_bits(one: pa.Table, other: pa.Table) -> bool:
    """Whether tables have the same values; NaN is the same as NaN."""
    return one.schema.equals(other.schema) and all(
        _same_values(a, b) for a, b in zip(one.columns, other.columns, strict=True)
    )


def _same_values(one: pa.ChunkedArray, other: pa.ChunkedArray) -> bool:
    """Whether columns of one type have the same values, to the last bit."""
    type_ = one.type
    if len(one) != len(other) or not one.is_null().equals(other.is_null()):
        return False
    if pa.types.is_dictionary(type_):
        return _same_values(one.cast(type_.value_type), other.cast(type_.value_type))
    if pa.types.is_map(type_):
        pairs = pa.list_(pa.struct([("key", type_.key_type), ("value", type_.item_type)]))
        return _same_values(one.cast(pairs), other.cast(pairs))
    if is_list(type_):
        lengths = pc.list_value_length(one).equals(pc.list_value_length(other))
        return lengths and _same_values(pc.list_flatten(one), pc.list_flatten(other))
    if pa.types.is_struct(type_):
        return all(map(_same_values, one.flatten(), other.flatten()))
    if pa.types.is_floating(type_):
        return np.array_equal(_bits(one), _bits(other))
    return bool(one.equals(other))


def _bits(values: pa.ChunkedArray) -> Any:
    """The bits of floats as integers; all NaN, and null, are the same."""
    floats = values.to_numpy()
    return (
        np.where(np.isnan(floats), np.nan, floats)
        .astype(floats.dtype)
        .view(f"u{floats.dtype.itemsize}")
    )


def _environment_changes(before: dict[str, str]) -> str:
    """The changes of the environment that affect bits, in words; "" if there is none."""
    now = environment()
    changes = [
        f"{name} was {before.get(name)}, is {now[name]}"
        for name in _DECIDES_BITS
        if before.get(name) != now[name]
    ]
    return ", ".join(changes)


def _difference(expected: pa.Table, actual: pa.Table) -> str | None:
    """The first difference beyond the tolerance, or None."""
    if expected.schema.names != actual.schema.names or len(expected) != len(actual):
        return (
            f"{len(expected)} rows of {expected.schema.names} are now {len(actual)} of "
            f"{actual.schema.names}"
        )
    for name in expected.schema.names:
        difference = _column_difference(expected[name], actual[name])
        if difference:
            return f"column {name!r}: {difference}"
    return None


def _column_difference(expected: pa.ChunkedArray, actual: pa.ChunkedArray) -> str | None:
    if _same_values(expected, actual):
        return None
    if is_list(expected.type) and is_list(actual.type):
        if pc.list_value_length(expected) != pc.list_value_length(actual):
            return "other values"
        expected, actual = pc.list_flatten(expected), pc.list_flatten(actual)
    if expected.type != actual.type or not pa.types.is_floating(expected.type):
        return "other values"
    if not expected.is_null().equals(actual.is_null()):
        return "other values"
    was, now = (values.to_numpy().astype(np.float64) for values in (expected, actual))
    finite = np.isfinite(was) & np.isfinite(now)
    if not np.array_equal(was[~finite], now[~finite], equal_nan=True):
        return "other values"
    relative = np.abs(was - now)[finite] / (np.abs(was[finite]) + 1e-12)
    largest = relative.max(initial=0.0)
    return None if largest <= TOLERANCE else f"values differ by a relative {largest:.2g}"
