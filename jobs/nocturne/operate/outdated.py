"""Finds published nights whose scores would differ if they were scored today, and says why.

The manifest of a night has the output version of its scores. If the version was raised since, most
inputs still give the same bytes. ``_READ_DIFFERENTLY`` finds the others from the files' footers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nocturne import plan, table
from nocturne.columns.normal import plain_type
from nocturne.columns.types import zone_of
from nocturne.config import Loaded
from nocturne.errors import InputChanged, InputError, NocturneError, StoreUnavailable
from nocturne.objects import location
from nocturne.pipeline.nights import PublishedNights
from nocturne.pipeline.places import Places
from nocturne.records.manifest import Manifest
from nocturne.records.partition import Partition
from nocturne.records.plan import TABLE_MARK, InputFile
from nocturne.source.fingerprints import current
from nocturne.source.protocol import InputTable, file_name
from nocturne.source.reading import read_footer
from nocturne.store.run import Run

__all__ = ["RescoreAdvice", "rescore_advice"]


@dataclass(frozen=True)
class RescoreAdvice:
    """The reasons why a published night should be scored again, and the command that does it.

    Without reasons there is nothing to do. With reasons, an empty ``command`` means that a person
    must look first, since somebody changed the published files.
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
                advice = _advice(loaded, partition)
            except StoreUnavailable:
                raise
            except NocturneError as error:
                advice = RescoreAdvice(partition.key, "", 0, (str(error),))
            if advice is not None:
                yield advice


def _advice(loaded: Loaded, partition: Partition) -> RescoreAdvice | None:
    """None if nothing is published."""
    places = Places.of(loaded)
    output = places.output(partition)
    manifest = table.published_manifest(output)
    if manifest is None:
        return None
    run = Run.at(output.state, manifest.run_key)
    if not run.plan.input_version:  # a folder, which may have been moved
        run = run.changed(input_dir=str(places.input(partition)))
    reasons = [*_files(run, places.inputs)]
    if manifest.output_version < plan.OUTPUT_VERSION:
        reasons += _changed_readings(manifest, run)
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


def _scored_files(run: Run) -> dict[str, InputFile]:
    """The scored files of the input partition, without the files of joined tables."""
    return {file.path: file for file in run.plan.files if TABLE_MARK not in file.path}


def _files(run: Run, inputs: InputTable) -> Iterator[str]:
    """Reasons from files that were added, changed or left out since the night was scored."""
    try:
        if not inputs.has(run.plan.partition):
            if run.plan.input_version:
                yield "the table has no row of the partition any more"
            return
        folder = location(run.plan.input_dir)
        there = {file_name(path, folder): path for path in inputs.listing(run.plan.partition).files}
    except StoreUnavailable:
        raise
    except NocturneError as error:
        yield str(error)
        return
    scored = _scored_files(run)
    new = [name for name in there if name not in scored]
    changed = [name for name in there if name in scored and not current(there[name], scored[name])]
    removed = [name for name in scored if name not in there and run.plan.input_file(name).exists()]
    for names, description in (
        (new, "in the input and not scored"),
        (changed, "changed since it was scored"),
        (removed, "scored, but no longer a file of the partition"),
    ):
        if names:
            yield f"{description}: {_summary(names)}"


def _changed_readings(manifest: Manifest, run: Run) -> Iterator[str]:
    """Reasons from later output versions, which give other bytes for some files."""
    if run.plan.is_whole:
        return  # Spark read it then, and would now
    checks = [
        check
        for version, check in _READ_DIFFERENTLY.items()
        if manifest.output_version < version <= plan.OUTPUT_VERSION
    ]
    names_by_reason: dict[str, list[str]] = {}
    unreadable = []
    for name in _scored_files(run):
        path = run.plan.input_file(name)
        try:
            footer = read_footer(path)
        except (InputError, InputChanged):
            unreadable.append(name)
            continue
        for check in checks:
            for reason in check(footer, run):
                names_by_reason.setdefault(reason, []).append(name)
    for reason, names in names_by_reason.items():
        yield f"{reason}: {_summary(names)}"
    if unreadable and checks:
        yield (
            f"missing or not readable, so it is unknown whether output versions after "
            f"{manifest.output_version} read it differently: {_summary(unreadable)}"
        )


def _summary(names: Sequence[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{min(names)}{more}"


def _types(footer: pq.FileMetaData, run: Run) -> Iterator[str]:
    """INT96 in columns that are read or published; half floats and time zones in features."""
    features = dict.fromkeys(f.column for _, f in run.plan.encoding.features())
    schema, leaves = footer.schema.to_arrow_schema(), footer.schema
    int96 = [
        leaves.column(i).path
        for i in range(len(leaves))
        if leaves.column(i).physical_type == "INT96"
    ]
    for name in dict.fromkeys((*features, *run.plan.keys, *run.plan.passthrough)):
        if any(path == name or path.startswith(f"{name}.") for path in int96):
            yield f"column {name!r} holds times in INT96, which were read in nanoseconds"
    for name in features:
        type_ = plain_type(schema.field(name).type) if name in schema.names else pa.null()
        if "halffloat" in str(type_):
            yield f"feature {name!r} holds half floats, which were not converted to float"
        if zone_of(type_):
            yield f"feature {name!r} holds times in {type_.tz}, which the model was given in UTC"


_READ_DIFFERENTLY: dict[int, Callable[[pq.FileMetaData, Run], Iterator[str]]] = {3: _types}
"""Output version -> the reasons why a file with such a footer gives other bytes since then."""
