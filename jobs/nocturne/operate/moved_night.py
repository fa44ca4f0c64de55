"""Copies one published night to another place, and puts it in force there."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from nocturne import table
from nocturne.columns.normal import unpacked
from nocturne.config import Loaded
from nocturne.errors import RetryableError, StateError
from nocturne.objects import Location, ObjectPath, size_of
from nocturne.objects.reading import native
from nocturne.operate.moved_history import copy_decisions, copy_history, referring
from nocturne.operate.moved_line import is_same_night, require_part, require_undecided
from nocturne.operate.moved_run import copy_run
from nocturne.operate.verify import published_columns
from nocturne.records.manifest import Manifest, OutputFile
from nocturne.store.files import file_digest, place, scratch, write_atomic
from nocturne.store.partition_state import PartitionState
from nocturne.store.record_files import content
from nocturne.store.run import Run
from nocturne.table_formats.protocol import TablePartition

__all__ = ["move_night"]


def move_night(
    source: TablePartition, output: TablePartition, manifest: Manifest, target: Loaded
) -> tuple[Manifest | None, str]:
    """Copy what the new place lacks of a night.

    Args:
        source, output: the partition in the old place and in the new one.
        manifest: in force in the old place.

    Returns:
        The manifest that is in force there, None if there is nothing to move; and what a person
        should know, or "".

    Raises:
        NocturneError: it can't be moved.
    """
    line, broken = source.state.known_lineage(manifest)
    # So nobody publishes there meanwhile (in a store: or the table decides), and gc waits.
    with output.exclusive(), _working(output.state) as folder:
        output.check(None)  # before anything is written: it may be a table of another format
        there, note = table.published_manifest(output), ""
        if there is not None and is_same_night(source, manifest, output, there):
            _bring_again(source, manifest, output, there, target)
        elif manifest.outputs:
            there, note = _replaced(source, output, line, broken, there, target, folder)
        elif there is not None:
            raise StateError(
                "it has no rows in the old place, as after a deletion that was adopted. Delete "
                "them in the new place too (in a lake table, and `nocturne adopt`), or score it "
                "there"
            )
        else:
            return None, "it has no rows, as after a deletion that was adopted: nothing to move"
        copy_decisions(source.state, line, output.state, there)
        return there, note


def _replaced(
    source: TablePartition,
    output: TablePartition,
    line: Sequence[Manifest],
    broken: StateError | None,
    there: Manifest | None,
    target: Loaded,
    folder: Path,
) -> tuple[Manifest, str]:
    """Copy a night and put it in force in place of what is there.

    Args:
        line: what was in force in the old place, the last first.
        broken: why no more of it can be read.

    Returns:
        The manifest that is in force now; what a person should know.
    """
    manifest, note = line[0], ""
    if there is not None:
        require_part(output, output.state.known_lineage(there)[0], line, broken)
        if there.run_key == manifest.run_key and not output.lake_types:
            raise StateError(
                "another program has changed its rows, and a folder can't tell two nights of one "
                "run apart. Choose another place, or score it in the new place"
            )
    failed = require_undecided(source, output, there, manifest)
    try:
        newest, files = _copied(source, output, manifest, target, folder)
    except (StateError, FileNotFoundError) as error:
        now = table.published_manifest(source)
        if now is not None and now.id == manifest.id:
            raise
        raise RetryableError(
            f"it was published anew in the old place meanwhile ({error}). Move it once more"
        ) from None
    if there is None:  # what was in force in the old place before is history here
        note = copy_history(source, output, line, broken, target)
    if failed is not None:
        output.state.clear_status(failed.run_key)
    put = table.take_over(output, there, newest, files, target.pipeline.output.keep)
    if put is not None:
        return put, note
    there = table.published_manifest(output)
    if there is None or not is_same_night(source, manifest, output, there):
        raise RetryableError("it was published there meanwhile. Move it once more")
    return there, note


@contextmanager
def _working(state: PartitionState) -> Iterator[Path]:
    """A folder for files on their way into the table; that of a killed move is removed."""
    if isinstance(state.root, ObjectPath):
        with scratch("move") as folder:
            yield folder
        return
    folder = state.folder / ".moving"  # on the file system of the table, and the lock is held
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _bring_again(
    source: TablePartition,
    manifest: Manifest,
    output: TablePartition,
    there: Manifest,
    target: Loaded,
) -> None:
    """Copy what a night that is there already has lost since."""
    copy_run(Run.at(source.state, manifest.run_key), output, target)
    judgement = content(source.state.stored(manifest.judgement))
    plan = content(output.state.run(there.run_key).plan_file)
    for file, data in ((there.judgement, judgement), (there.run, plan)):
        path = output.state.stored(file)
        if not path.is_file() and file.sha256 == hashlib.sha256(data).hexdigest():
            write_atomic(path, data, exclusive=True, durable=True)


def _copied(
    source: TablePartition, output: TablePartition, manifest: Manifest, target: Loaded, folder: Path
) -> tuple[Manifest, dict[str, Location]]:
    """Copy a night; returns its manifest as it is to be there, and its files by their new names."""
    run = Run.at(source.state, manifest.run_key)
    _require_intact(source, manifest, run)
    files, outputs = dict[str, Location](), list[OutputFile]()
    for number, file in enumerate(manifest.outputs):
        made_for, old = unpacked(run.plan.partition_columns), source.file(file.path)
        made = folder / f"{number}"
        path = table.fitted(old, made_for, output, made)
        sha256 = file.sha256 if path == old else file_digest(path)
        if isinstance(path, Path) and isinstance(output.location, Path) and path == old:
            place(path, made, link=False)  # a table links to what it is given
            path = made
        name = _name(output, manifest, number, file.path, sha256)
        files[name] = path
        outputs.append(replace(file, path=name, sha256=sha256, size=size_of(path)))
    # What is never null is known, and checked, before anything is scored.
    schema = pq.read_schema(native(next(iter(files.values())))).remove_metadata()
    from_files = {*run.plan.keys, *run.plan.passthrough} - {*run.plan.path_keys}
    output.check(pa.schema([field.with_nullable(False) for field in schema]), from_files)
    if why := table.other_rows(
        output, [source.file(f.path) for f in manifest.outputs], [*files.values()]
    ):
        raise StateError(f"it can't be moved, since its files would {why}")
    copy_run(run, output, target)
    newest = referring(manifest, source.state, output.state)
    return replace(newest, outputs=tuple(outputs), content_key=manifest.kept_key), files


def _require_intact(source: TablePartition, manifest: Manifest, run: Run) -> None:
    """Raises: StateError if something of the night is not as it was published."""
    do = f"{manifest.pipeline} --date {manifest.partition.key}`"
    if source.is_rearranged(manifest):
        raise StateError(
            "another program has written its files anew; take them first: `nocturne adopt " + do
        )
    found = table.verify(source, manifest, published_columns(run.plan))
    if found:
        problems = "; ".join(f"{p.file} {p.problem}" for p in found)
        raise StateError(f"it is not as it was published: {problems}; see `nocturne verify {do}")


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
