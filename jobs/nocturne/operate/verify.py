"""Verify a published partition, and score a sample of it again to compare."""

from __future__ import annotations

import random
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nocturne import table
from nocturne.columns.normal import is_list
from nocturne.config import Loaded
from nocturne.errors import NocturneError
from nocturne.model import registry
from nocturne.pipeline.nights import PublishedNights
from nocturne.pipeline.places import Places
from nocturne.pipeline.publishing import environment
from nocturne.records.manifest import Manifest, OutputFile
from nocturne.records.partition import Partition
from nocturne.records.plan import InputFile, Split
from nocturne.store.files import file_blake3
from nocturne.store.run import Run
from nocturne.table import Problem
from nocturne.table_formats.protocol import TablePartition

__all__ = ["Replayed", "Verified", "verify_partition"]

TOLERANCE = 1e-5
"""Relative, between a score and the same one made on another processor or by another torch."""

_DECIDES_BITS = ("torch", "machine", "cpu")


@dataclass(frozen=True)
class Replayed:
    """One split scored again: how its rows compare with the published ones."""

    file: str
    outcome: Literal["bit-equal", "within tolerance", "different", "impossible"]
    detail: str = ""

    @property
    def ok(self) -> bool:
        return self.outcome in ("bit-equal", "within tolerance")


@dataclass(frozen=True)
class Verified:
    """What verify found of one partition."""

    partition: str
    manifest: str
    output: str
    files: int
    rows: int
    problems: tuple[Problem, ...]
    replayed: tuple[Replayed, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems and all(one.ok for one in self.replayed)

    def as_json(self) -> dict[str, Any]:
        return {
            **{k: v for k, v in vars(self).items() if k not in ("problems", "replayed")},
            "ok": self.ok,
            "problems": [vars(problem) for problem in self.problems],
            "replayed": [vars(one) for one in self.replayed],
        }


def verify_partition(loaded: Loaded, partition: Partition, replay: int | None = 0) -> Verified:
    """Compare a published partition with its manifest; nothing is changed.

    Args:
        replay: how many splits are scored again with the pinned model and compared; None: all.

    Raises:
        StateError: nothing is published there.
        PublishError: the folder holds files that no manifest names.
    """
    places = Places.of(loaded)
    output, manifest = places.output(partition), PublishedNights(loaded).manifest(partition)
    run = Run.at(output.state, manifest.run_key)
    run = run.changed(input_dir=str(places.input(partition)))  # where it may have been moved to
    outputs = [output.name for output in run.plan.encoding.outputs]
    columns = [*run.plan.keys, *run.plan.passthrough, *outputs, "model_version"]
    problems = table.verify(output, manifest, columns)
    allowed = loaded.pipeline.model.allow_pickle  # today, whatever the run says
    replayed = _replay(run, manifest, output, replay, allowed) if replay != 0 else []
    return Verified(
        partition.key,
        manifest.id,
        str(output.location),
        len(manifest.outputs),
        manifest.rows_published,
        tuple(problems),
        tuple(replayed),
    )


def _replay(
    run: Run, manifest: Manifest, output: TablePartition, count: int | None, allow_pickle: bool
) -> list[Replayed]:
    """Score some of the published splits again, chosen by chance."""
    if run.plan.is_whole:
        said = "a query is read by Spark as a whole; score the partition again with --force"
        return [Replayed("", "impossible", said)]
    try:
        registry.require_loadable(run.plan.model, allow_pickle)
    except NocturneError as error:
        return [Replayed("", "impossible", str(error))]
    splits = {split.key: split for split in run.plan.splits}
    files = list(manifest.outputs)
    if count is not None and count < len(files):
        chosen = random.SystemRandom().sample(range(len(files)), count)
        files = [files[i] for i in sorted(chosen)]
    differs = _elsewhere(manifest.environment)
    with tempfile.TemporaryDirectory(prefix=".replay-", dir=run.state.folder) as scratch:
        again = Run(Path(scratch), run.state, run.plan)
        return [
            _one(again, splits.get(file.split), file, output.file(file.path), differs)
            for file in files
        ]


def _one(
    run: Run, split: Split | None, file: OutputFile, published: Path, differs: str
) -> Replayed:
    from nocturne.worker.split import run_split

    planned = next((f for f in run.plan.files if split is not None and f.path == split.file), None)
    if split is None or planned is None:
        return Replayed(file.path, "impossible", "its run.json does not name it: it is damaged")
    source = run.plan.input_file(planned.path)
    if not source.is_file():
        return Replayed(file.path, "impossible", f"its input {source} is gone")
    if file_blake3(source) != planned.blake3:
        return Replayed(file.path, "impossible", f"its input {source} was changed since")
    try:
        result = run_split(_as_it_is_now(run, planned, source), split)
    except NocturneError as error:
        return Replayed(file.path, "impossible", str(error))
    made = run.attempt(result.file)
    one, other = pq.read_table(published), pq.read_table(made)
    made.unlink()
    if one.equals(other):
        return Replayed(file.path, "bit-equal")
    found = _difference(one, other)
    if differs and found is None:
        return Replayed(file.path, "within tolerance", f"relative {TOLERANCE:g}; {differs}")
    return Replayed(file.path, "different", found or "in the last bits, on the same processor type")


def _as_it_is_now(run: Run, planned: InputFile, source: Path) -> Run:
    """The same bytes may have been copied since: then inode and time differ."""
    stat = source.stat()
    now = replace(planned, mtime_ns=stat.st_mtime_ns, inode=stat.st_ino)
    files = tuple(now if f is planned else f for f in run.plan.files)
    return run.changed(files=files)


def _elsewhere(then: dict[str, str]) -> str:
    """What decides bits and is not as it was then, in words; "" if all is."""
    now = environment()
    differs = [
        f"{name} was {then.get(name)}, is {now[name]}"
        for name in _DECIDES_BITS
        if then.get(name) != now[name]
    ]
    return ", ".join(differs)


def _difference(one: pa.Table, other: pa.Table) -> str | None:
    """The first difference beyond the tolerance, or None."""
    if one.schema.names != other.schema.names or len(one) != len(other):
        return f"{len(one)} rows of {one.schema.names} are now {len(other)} of {other.schema.names}"
    for name in one.schema.names:
        said = _column_difference(one[name], other[name])
        if said:
            return f"column {name!r}: {said}"
    return None


def _column_difference(one: pa.ChunkedArray, other: pa.ChunkedArray) -> str | None:
    if one.equals(other):
        return None
    if is_list(one.type) and is_list(other.type):
        if pc.list_value_length(one) != pc.list_value_length(other):
            return "other values"
        one, other = pc.list_flatten(one), pc.list_flatten(other)
    if one.type != other.type or not pa.types.is_floating(one.type):
        return "other values"
    gap = pc.abs(pc.subtract(one, other))
    relative = pc.divide(gap, pc.add(pc.abs(one), 1e-12))
    largest = pc.max(relative).as_py()
    return None if largest <= TOLERANCE else f"values differ by a relative {largest:.2g}"
