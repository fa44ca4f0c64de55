"""Copies the published nights of a pipeline, with their state, to another place or format.

Nothing is removed from the old place. A move that was killed is finished by the same command, which
also brings nights that were published meanwhile.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nocturne import table
from nocturne.columns.normal import unpacked
from nocturne.config import Loaded
from nocturne.errors import (
    ConfigError,
    NocturneError,
    RetryableError,
    StateError,
    StoreUnavailable,
)
from nocturne.model.copies import check_copy, fetch_model, keep_copy
from nocturne.objects import Location, ObjectPath, is_within, relative, size_of
from nocturne.objects.reading import native
from nocturne.objects.together import TRANSFERS, together
from nocturne.operate.status import known_partitions
from nocturne.operate.verify import published_columns, verify_partition
from nocturne.pipeline.places import Places, columns_of_partition, planned_output
from nocturne.pipeline.runs import settings_of
from nocturne.records.manifest import Judgement, Manifest, OutputFile
from nocturne.records.partition import Partition
from nocturne.records.plan import ModelRef, RunPlan
from nocturne.store.files import digest, file_digest, place, scratch, write_atomic
from nocturne.store.partition_state import PartitionState
from nocturne.store.pipeline_state import PipelineState
from nocturne.store.record_files import content, read, write
from nocturne.store.run import Run
from nocturne.table_formats.protocol import TablePartition

__all__ = ["Moved", "move", "moved_pipeline"]

_WORKING = ("attempts/", "progress/", "table/")
"""What a published run no longer needs."""


@dataclass(frozen=True)
class Moved:
    """What became of a night. ``problem``: why it is not in the new place; "" if it is."""

    partition: str
    manifest: str = ""
    rows: int = 0
    problem: str = ""

    @property
    def ok(self) -> bool:
        return not self.problem


def moved_pipeline(loaded: Loaded, **output: Any) -> Loaded:
    """The pipeline as it is to be published elsewhere.

    Raises:
        ConfigError: its output is there already, or it can't be there.
    """
    target = loaded.with_output(**output)
    before, after = Places.of(loaded), Places.of(target)
    for old in (before.state.table, before.state.root):
        for new in (after.state.table, after.state.root):
            if (is_within(old, new) or is_within(new, old)) and not (
                old == new == after.state.table and loaded.pipeline.output.table != output["table"]
            ):
                raise ConfigError(
                    f"the scores of {loaded.pipeline.name} are in {before.state.table} with the "
                    f"state in {before.state.root}, and {new} is there too, or inside, or around "
                    "it. Name another place"
                )
    return target


def move(loaded: Loaded, target: Loaded, say: Callable[[str], None]) -> list[Moved]:
    """Copy every published night that is not there yet, and verify it there.

    Args:
        target: the pipeline as it is to be published: see ``moved_pipeline``.

    Raises:
        ConfigError, PublishError: the new place can't be published into.
        StoreUnavailable: a store does not answer; what was moved stays.
    """
    before, after = Places.of(loaded), Places.of(target)
    after.claim()
    for kind in ("trials", "tuning"):
        made = _below(before.state.root / kind)
        _copy_all({n: p for n, p in made.items() if n[0] != "."}, after.state.root / kind)
    nights = []
    for key, partition in sorted({p.key: p for p in known_partitions(loaded)}.items()):
        output = before.output(partition)
        try:
            manifest = table.published_manifest(output)
            if manifest is None:
                continue
            _move_night(output, after.output(partition), manifest, target)
            night = Moved(key, manifest.id, manifest.rows_published, _unlike(target, partition))
        except StoreUnavailable:
            raise
        except (NocturneError, OSError) as error:
            night = Moved(key, problem=str(error))
        nights.append(night)
        say(f"{night.partition}: {night.problem or f'{night.rows} rows, {night.manifest}'}")
    return nights


def _move_night(
    source: TablePartition, output: TablePartition, manifest: Manifest, target: Loaded
) -> None:
    lineage = source.state.lineage(manifest)
    # So nobody publishes there meanwhile (in a store: or the table decides), and gc waits.
    with output.exclusive(), scratch("move") as folder:
        there = table.published_manifest(output)
        if there is not None and _is_same(there, manifest):
            _require_same_rows(source, manifest, output, there)
            _bring_again(source, manifest, output, there, target)
            moved = [(manifest.id, there.id, manifest.run_key)]
        else:
            _require_free(source, output, there, manifest)
            # What was in force in the old place before is history here, if nothing is in force.
            copied = lineage if there is None else lineage[:1]
            try:
                there = _copy_night(source, output, lineage, copied, target, folder)
            except (StateError, FileNotFoundError) as error:
                if table.published_manifest(source) == manifest:
                    raise
                raise RetryableError(
                    f"it was published anew in the old place meanwhile ({error}). Move it once more"
                ) from None
            moved = [(m.id, m.id, m.run_key) for m in copied[1:]]
            moved.append((manifest.id, there.id, manifest.run_key))
        old, new = source.state, output.state
        for id_, id_there, run_key in moved:  # a person may have decided, or MLflow have answered
            for path, copy in (
                (old.accepted(id_), new.accepted(id_there)),
                (old.run(run_key).logged_file, new.run(run_key).logged_file),
            ):
                if path.is_file() and not copy.is_file():
                    place(path, copy)


def _is_same(there: Manifest, manifest: Manifest) -> bool:
    """Whether it is the night that is to be moved: moved before, or scored there alike."""
    is_alike = there.id == manifest.id or there.content == manifest.content
    return there.pipeline == manifest.pipeline and is_alike


def _require_same_rows(
    source: TablePartition, manifest: Manifest, output: TablePartition, there: Manifest
) -> None:
    """Raises: StateError if they are different nights: changed by others, or scored otherwise."""
    of_place = ("id", "number", "outputs", "run", "judgement", "replaces")
    one, other = (
        {k: v for k, v in vars(m).items() if k not in of_place} for m in (there, manifest)
    )
    if one == other and not manifest.adopted:
        return  # it was moved
    if _bytes_of(there) == _bytes_of(manifest):
        return
    before = [source.file(file.path) for file in manifest.outputs]
    if why := table.other_rows(output, before, [output.file(f.path) for f in there.outputs]):
        raise StateError(
            "another program has changed it in one of the places, or it was scored there with "
            f"other results: its rows there {why}. Score it in the new place"
        )


def _bytes_of(manifest: Manifest) -> list[tuple[str, int]]:
    return sorted((file.sha256, file.rows) for file in manifest.outputs)


def _bring_again(
    source: TablePartition,
    manifest: Manifest,
    output: TablePartition,
    there: Manifest,
    target: Loaded,
) -> None:
    """Copy what a night that is there already has lost since."""
    _move_run(Run.at(source.state, manifest.run_key), output, target)
    judgement = content(source.state.stored(manifest.judgement))
    plan = content(output.state.run(there.run_key).plan_file)
    for file, data in ((there.judgement, judgement), (there.run, plan)):
        path = output.state.stored(file)
        if not path.is_file() and file.sha256 == hashlib.sha256(data).hexdigest():
            write_atomic(path, data, exclusive=True, durable=True)


def _require_free(
    source: TablePartition, output: TablePartition, there: Manifest | None, manifest: Manifest
) -> None:
    """Raises: StateError or RetryableError if somebody has begun with the partition there."""
    status = output.state.status(there.run_key if there else None)
    if status is not None and status.state == "running":
        raise RetryableError("it is being scored there; move it when that has ended")
    if status is not None and status.state in ("held", "rejected"):
        raise StateError(
            f"it is {status.state} there ({status.message}). Decide on it there: `nocturne score`, "
            "`approve` or `reject` with the new output"
        )
    if there is not None and there.run_key == manifest.run_key and not output.lake_types:
        raise StateError("another program has changed its rows again; score it in the new place")
    run = output.state.run(manifest.run_key)
    if run.is_judged:
        findings = read(Judgement, run.judgement_file).findings
        if findings != source.state.judgement(manifest).findings:
            raise StateError("it was judged otherwise there, and not published; score it there")


def _copy_night(
    source: TablePartition,
    output: TablePartition,
    lineage: Sequence[Manifest],
    moved: Sequence[Manifest],
    target: Loaded,
    folder: Path,
) -> Manifest:
    """Copy a night; returns its manifest there."""
    manifest = lineage[0]
    run = Run.at(source.state, manifest.run_key)
    _require_intact(source, lineage, run.plan)
    files, outputs = dict[str, Location](), list[OutputFile]()
    for number, file in enumerate(manifest.outputs):
        made_for = unpacked(run.plan.partition_columns)
        path = table.fitted(source.file(file.path), made_for, output, folder / f"{number}")
        sha256 = file.sha256 if path == source.file(file.path) else file_digest(path)
        name = _name(output, manifest, number, file.path, sha256)
        files[name] = path
        outputs.append(replace(file, path=name, sha256=sha256, size=size_of(path)))
    if not files:
        raise StateError("it has no files, so there is nothing to move")
    # What is never null is known, and checked, before anything is scored.
    schema = pq.read_schema(native(next(iter(files.values())))).remove_metadata()
    from_files = {*run.plan.keys, *run.plan.passthrough} - {*run.plan.path_keys}
    output.check(pa.schema([field.with_nullable(False) for field in schema]), from_files)
    if why := table.other_rows(
        output, [source.file(f.path) for f in manifest.outputs], [*files.values()]
    ):
        raise StateError(f"it can't be moved, since its files would {why}")
    for run_key in {m.run_key: None for m in moved}:
        _move_run(Run.at(source.state, run_key), output, target)
    for earlier in moved[1:]:
        path = output.state.manifest_file(earlier.id)
        write(path, _referring(earlier, source.state, output.state), exclusive=True)
    newest = replace(_referring(manifest, source.state, output.state), outputs=tuple(outputs))
    put = table.take_over(output, lineage, newest, files, target.pipeline.output.keep)
    if put is None:  # it was published there meanwhile
        there = table.published_manifest(output)
        assert there is not None
        _require_same_rows(source, manifest, output, there)
        return there
    return put


def _name(output: TablePartition, manifest: Manifest, number: int, name: str, sha256: str) -> str:
    """The name that a file is published under. No name is given to other bytes than before.

    In a lake a file lies among those of other versions, and a night may be scored there just now:
    so it is named by its bytes. A folder's files need the run's key in their names.
    """
    if output.lake_types:
        return table.file_name(number, sha256)
    if not manifest.adopted:
        is_of_run = table.file_name(0, manifest.run_key)[-24:] == name[-24:]
        return name if is_of_run else table.file_name(number, manifest.run_key)
    return table.file_name(90_000 + number, manifest.run_key)  # no run has so many files


def _require_intact(source: TablePartition, lineage: Sequence[Manifest], plan: RunPlan) -> None:
    """Raises: StateError if something of the night is not as it was published."""
    manifest = lineage[0]
    do = f"see `nocturne verify {manifest.pipeline} --date {manifest.partition.key}`"
    if source.is_rearranged(manifest):
        raise StateError(
            "another program has written its files anew; take them first: `nocturne adopt "
            f"{manifest.pipeline} --date {manifest.partition.key}`"
        )
    found = table.verify(source, manifest, published_columns(plan))
    problems = [f"{p.file} {p.problem}" for p in found]
    for earlier in lineage[1:]:
        for stored in (earlier.run, earlier.judgement):
            path = source.state.stored(stored)
            if not path.is_file() or stored.sha256 not in ("", file_digest(path)):
                problems.append(f"{path} is missing or was changed")
    if problems:
        raise StateError(f"it is not as it was published: {'; '.join(problems)}; {do}")


def _move_run(run: Run, output: TablePartition, target: Loaded) -> None:
    """Copy a run, with a plan that names its new place; its quarantined rows, and its model."""
    key = run.plan.run_key
    place_ = output.state.run(key)
    skipped = {run.plan_file, run.settings_file, *run.copies()}
    files = {
        name: path
        for name, path in _below(run.path).items()
        if path not in skipped and not name.startswith((".", *_WORKING))
    }
    _copy_records(files, place_.path)
    models = PipelineState(output.state.root)
    of_partition = columns_of_partition(output, (*run.plan.keys, *run.plan.passthrough))
    place_of = ("path", "format", "table", "state")
    there = {name: getattr(target.pipeline.output, name) for name in place_of}
    planned = settings_of(run)
    settings = planned.model_copy(update={"output": planned.output.model_copy(update=there)})
    write(place_.settings_file, settings.model_dump(mode="json"), exclusive=True)
    plan = replace(
        run.plan,
        config_digest=digest(json.loads(content(place_.settings_file))),
        model=replace(run.plan.model, path=str(models.model(run.plan.model.sha256))),
        **planned_output(target.pipeline.output, output, of_partition),
    )
    placed = Run(place_.path, output.state, plan)
    if not placed.plan_file.is_file() or _place_of(Run.open(placed.path).plan) != _place_of(plan):
        placed.write_plan()
    # After the plan, by which gc knows that it is needed.
    fetch_model(run)
    _copy_model(run.plan.model, models.models)
    _copy_all(_below(run.state.quarantine(key)), output.state.quarantine(key))


def _place_of(plan: RunPlan) -> tuple[object, ...]:
    """What a plan says of the table. That of a killed move may be another one."""
    return plan.format, plan.table, plan.output_uri, plan.lake_types, plan.partition_columns


_checked = lru_cache(maxsize=64)(check_copy)
"""Hashes a model once for all nights that it has scored."""


def _copy_model(model: ModelRef, models: Location) -> None:
    _checked(model)
    keep_copy(Path(model.path), models / Path(model.path).name)


def _referring(manifest: Manifest, source: PartitionState, state: PartitionState) -> Manifest:
    """The manifest with references to the copies of its run's files."""
    run, judgement = state.run(manifest.run_key), content(source.stored(manifest.judgement))
    write_atomic(run.judgement_file, judgement, exclusive=True, durable=True)
    return replace(
        manifest,
        run=state.reference(run.plan_file, content(run.plan_file)),
        judgement=state.reference(run.judgement_file, judgement),
    )


def _unlike(target: Loaded, partition: Partition) -> str:
    """What is wrong with a night in its new place; "" if nothing is."""
    verified = verify_partition(target, partition)
    output = Places.of(target).output(partition)
    manifest = table.published_manifest(output)
    if manifest is not None and not manifest.adopted:
        run = output.state.run(manifest.run_key)
        for path in (run.plan_file, run.settings_file, run.profile_file, run.judgement_file):
            if not path.is_file():
                return f"{path} is missing, in the old place too. Score it there with --force"
    return "; ".join(f"{p.file or 'the partition'}: {p.problem}" for p in verified.problems)


def _below(folder: Location) -> Mapping[str, Location]:
    """The files below a folder, by their names in it."""

    def found() -> Iterator[Location]:
        if isinstance(folder, ObjectPath):
            yield from folder.below()
        elif folder.is_dir():
            yield from (path for path in folder.rglob("*") if path.is_file())

    return {relative(path, folder): path for path in found()}


def _copy_records(files: Mapping[str, Location], folder: Location) -> None:
    """Copy small files, each only if there is none: the same run may be scored there just now."""

    def copy(name: str) -> None:
        write_atomic(folder / name, files[name].read_bytes(), exclusive=True, durable=True)

    together(copy, files.keys() - _below(folder).keys())


def _copy_all(files: Mapping[str, Location], folder: Location) -> None:
    """Copy the files that the folder lacks; each comes whole, and none is ever changed."""
    missing = [*files.keys() - _below(folder).keys()]
    together(lambda name: place(files[name], folder / name), missing, at_once=TRANSFERS)
