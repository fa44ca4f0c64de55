"""Which published nights would come out otherwise if they were scored today, and why.

A night's manifest says of which output version its scores are. Where that was raised since, most
inputs give the same bytes: ``_READ_OTHERWISE`` says which do not, by what the files' footers hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nocturne import plan, table
from nocturne.columns.normal import plain_type
from nocturne.columns.types import zone_of
from nocturne.config import Loaded
from nocturne.errors import NocturneError
from nocturne.pipeline.nights import PublishedNights
from nocturne.pipeline.places import Places
from nocturne.records.manifest import Manifest
from nocturne.records.partition import Partition
from nocturne.records.plan import TABLE_MARK, InputFile
from nocturne.source.walk import data_files
from nocturne.store.files import file_blake3
from nocturne.store.run import Run

__all__ = ["RescoreAdvice", "rescore_advice"]


@dataclass(frozen=True)
class RescoreAdvice:
    """A published night: why it should be scored again, in words, and the command that does it.

    Without reasons there is nothing to do. ``command`` is empty too where a person must look first:
    somebody touched what was published.
    """

    partition: str
    manifest: str
    output_version: int
    reasons: tuple[str, ...] = ()
    command: str = ""

    @property
    def ok(self) -> bool:
        return not self.reasons

    def as_json(self) -> dict[str, Any]:
        return vars(self) | {"ok": self.ok, "reasons": list(self.reasons)}


def rescore_advice(loaded: Loaded, since: str, until: str | None = None) -> Iterator[RescoreAdvice]:
    """Every published night from ``since`` to ``until`` (both included), oldest first."""
    for partition in PublishedNights(loaded).partitions(since):
        if since <= partition.key and (until is None or partition.key <= until):
            try:
                found = _advice(loaded, partition)
            except NocturneError as error:
                found = RescoreAdvice(partition.key, "", 0, (str(error),))
            if found is not None:
                yield found


def _advice(loaded: Loaded, partition: Partition) -> RescoreAdvice | None:
    """None if nothing is published."""
    places = Places.of(loaded)
    output = places.output(partition)
    manifest = table.published_manifest(output)
    if manifest is None:
        return None
    run = Run.at(output.state, manifest.run_key)
    run = run.changed(input_dir=str(places.input(partition)))
    reasons = [*_files(run)]
    if manifest.output_version < plan.OUTPUT_VERSION:
        reasons += _since(manifest, run)
    command = (
        f"nocturne score {loaded.pipeline.name} --date {manifest.partition.key} --model-version "
        f"{manifest.model.version}"
    )
    return RescoreAdvice(
        partition.key,
        manifest.id,
        manifest.output_version,
        tuple(reasons),
        command if reasons else "",
    )


def _scored(run: Run) -> dict[str, InputFile]:
    """The input partition's files that were scored, without those of tables that were joined."""
    return {file.path: file for file in run.plan.files if TABLE_MARK not in file.path}


def _files(run: Run) -> Iterator[str]:
    """Files that count as the partition's now and did not then, or hold something else."""
    folder = Path(run.plan.input_dir)
    if not folder.is_dir():
        return
    try:
        now = {path.relative_to(folder).as_posix(): path for path in data_files(folder)}
    except NocturneError as error:
        yield str(error)
        return
    then = _scored(run)
    new = [name for name in now if name not in then]
    changed = [name for name in now if name in then and not _same(now[name], then[name])]
    left = [name for name in then if name not in now and run.plan.input_file(name).exists()]
    for names, said in (
        (new, "in the input and not scored"),
        (changed, "changed since it was scored"),
        (left, "scored, and no file of the partition"),
    ):
        if names:
            yield f"{said}: {_named(names)}"


def _same(path: Path, planned: InputFile) -> bool:
    """Whether the file holds the bytes that were planned; read only if it was touched."""
    stat = path.stat()
    if stat.st_size != planned.size:
        return False
    return stat.st_mtime_ns == planned.mtime_ns or file_blake3(path) == planned.blake3


def _since(manifest: Manifest, run: Run) -> Iterator[str]:
    """What later output versions make other bytes of."""
    if run.plan.is_whole:
        return  # Spark has read it, then as now
    checks = [
        check
        for version, check in _READ_OTHERWISE.items()
        if manifest.output_version < version <= plan.OUTPUT_VERSION
    ]
    found: dict[str, list[str]] = {}
    gone = []
    for name in _scored(run):
        path = run.plan.input_file(name)
        try:
            footer = pq.read_metadata(path)
        except (OSError, pa.ArrowException):
            gone.append(name)
            continue
        for check in checks:
            for said in check(footer, run):
                found.setdefault(said, []).append(name)
    for said, names in found.items():
        yield f"{said}: {_named(names)}"
    if gone and checks:
        yield (
            f"gone or not readable, so that nobody can tell whether it held what is read otherwise "
            f"since output version {manifest.output_version}: {_named(gone)}"
        )


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{min(names)}{more}"


def _types(footer: pq.FileMetaData, run: Run) -> Iterator[str]:
    """INT96 in what is read or published; half floats and named time zones in features."""
    features = dict.fromkeys(f.column for _, f in run.plan.encoding.features())
    schema, leaves = footer.schema.to_arrow_schema(), footer.schema
    old = [
        leaves.column(i).path
        for i in range(len(leaves))
        if leaves.column(i).physical_type == "INT96"
    ]
    for name in dict.fromkeys((*features, *run.plan.keys, *run.plan.passthrough)):
        if any(path == name or path.startswith(f"{name}.") for path in old):
            yield f"column {name!r} holds times in INT96, then read in nanoseconds"
    for name in features:
        type_ = plain_type(schema.field(name).type) if name in schema.names else pa.null()
        if "halffloat" in str(type_):
            yield f"feature {name!r} holds half floats, then computed with as such"
        if zone_of(type_):
            yield f"feature {name!r} holds times in {type_.tz}, of which the model saw UTC's clock"


_READ_OTHERWISE: dict[int, Callable[[pq.FileMetaData, Run], Iterator[str]]] = {3: _types}
"""Output version -> of a file's footer, what has given other bytes since, in words."""
