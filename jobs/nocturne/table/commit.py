"""Publishes staged files as the partition, in a single step of its table, or changes nothing.

A commit writes the manifest, then swaps the files. The table itself says which manifest is in
force: the old one before the swap, and the new one after it, whatever crashes in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow.parquet as pq

from nocturne.errors import NocturneError, RetryableError, StateError, Superseded, Unsettled
from nocturne.objects import Location, ObjectPath, size_of
from nocturne.objects.reading import native
from nocturne.objects.together import together
from nocturne.records.manifest import Manifest, OutputFile
from nocturne.records.result import SplitResult
from nocturne.store.failpoints import reach
from nocturne.store.files import file_digest, place, sync_folder
from nocturne.store.format import raise_format
from nocturne.store.partition_state import manifest_id
from nocturne.store.record_files import write
from nocturne.store.run import Run
from nocturne.table.signatures import signed
from nocturne.table_formats.protocol import TablePartition, file_name, gone, has_bytes

__all__ = [
    "adopt",
    "check_base",
    "commit",
    "is_intact",
    "present",
    "published_manifest",
    "restore",
    "settle",
    "staged",
    "take_over",
]


def published_manifest(table: TablePartition) -> Manifest | None:
    """The manifest in force; None if nothing is published.

    Raises:
        PublishError: the partition has files that no manifest names.
        StateError: the manifest is damaged.
    """
    manifest_id = table.in_force()
    return table.state.manifest(manifest_id) if manifest_id is not None else None


def is_intact(table: TablePartition, manifest: Manifest) -> bool:
    """Whether the files of the manifest in force all exist, by name and size."""
    return table.files() == {file.path: file.size for file in manifest.outputs}


def staged(run: Run, results: list[SplitResult]) -> tuple[list[OutputFile], list[OutputFile]]:
    """The output and quarantine files, with the names under which they will be published."""
    outputs, quarantine = [], []
    records = dict[int, str]()
    if not run.plan.is_whole:  # those of a query are never taken over
        hashes = together(file_digest, map(run.result_file, run.plan.splits))
        records = {
            split.index: sha256 for split, sha256 in zip(run.plan.splits, hashes, strict=True)
        }
    for r in results:
        name, record = file_name(r.index, run.plan.run_key), records.get(r.index, "")
        outputs.append(OutputFile(name, r.sha256, r.size, r.rows_out, r.key, record))
        if r.quarantine_file:
            path = run.attempt(r.quarantine_file)
            size = size_of(path)
            quarantine.append(OutputFile(name, file_digest(path), size, r.quarantined, r.key))
    return outputs, quarantine


def check_base(run: Run, now: Manifest | None) -> None:
    """Raises: Superseded if the manifest in force is not the one that the plan is based on."""
    published, plan = now.id if now else None, run.plan
    if published != plan.based_on:
        raise Superseded(
            f"{plan.pipeline} {plan.partition.key}: these scores were planned when the published "
            f"manifest was {plan.based_on or 'none'}; now it is {published or 'none'}. Nothing was "
            "changed. Run the partition again if it should be replaced.",
            planned=plan.based_on,
            published=published,
        )


def commit(
    run: Run,
    table: TablePartition,
    results: list[SplitResult],
    manifest: Callable[[int, str | None], Manifest],
    keep: int,
) -> Manifest:
    """Publish a run's files with its manifest: a compare-and-swap.

    Args:
        manifest: makes the manifest from its number and the id of the manifest that it replaces.
        keep: the number of replaced versions that stay on disk.

    Raises:
        Superseded: the manifest in force is no longer the one that the plan is based on.
        PublishError: the partition has files that no manifest names, or can't be swapped.
    """
    with table.exclusive():
        reach("commit.locked")
        now = published_manifest(table)
        if now is not None:
            table.settle(now, keep)
            if now.run_key == run.plan.run_key:
                return now
        check_base(run, now)
        new = manifest(table.next_number(), run.plan.based_on)
        table.stage(
            {file_name(r.index, new.run_key): run.attempt(r.file) for r in results}, new.run_key
        )
        reach("commit.arranged")
        _keep_quarantine(run, results)
        return _put_in_force(table, new, keep)


def restore(
    table: TablePartition, earlier: Manifest, manifest: Callable[[int, str], Manifest], keep: int
) -> Manifest:
    """Put the files of an earlier manifest in force again, as a new manifest.

    Args:
        manifest: makes the new manifest from its number and the id of the manifest that it
            replaces.

    Raises:
        StateError: nothing is published, or the earlier files are no longer kept unchanged.
        Superseded: another process is publishing.
    """
    with table.exclusive():
        reach("commit.locked")
        now = published_manifest(table)
        if now is None:
            raise StateError(f"{table.location} is not published, so there is nothing to roll back")
        table.settle(now, keep)
        if now.content == earlier.content:
            return now
        kept = table.kept(earlier)
        if kept is None:
            raise StateError(
                f"the files of manifest {earlier.id} are no longer kept (output.keep is {keep}; "
                "a lake table's own cleaning takes them too). "
                "Score the partition again with that model (--model-version "
                f"{earlier.model.version}), or raise output.keep for the future"
            )
        for file in earlier.outputs:
            if not has_bytes(kept[file.path], file):
                raise StateError(
                    f"{kept[file.path]} is not the file that manifest {earlier.id} published "
                    "(missing or damaged); nothing was changed. Choose another manifest"
                )
        table.stage(kept, earlier.run_key)
        reach("commit.arranged")
        return _put_in_force(table, manifest(table.next_number(), now.id), keep)


def adopt(
    table: TablePartition,
    manifest: Callable[[Manifest, tuple[OutputFile, ...], int], Manifest],
    keep: int,
) -> Manifest:
    """Put the files that the partition has now in force, under a new manifest.

    Args:
        manifest: makes the manifest from that of the last publish, the present files, and its
            number.

    Raises:
        StateError: the partition was never published from here, or has its own files.
        Superseded: another process is publishing.
    """
    with table.exclusive():
        last = table.last_published()
        if last is None:
            raise StateError(
                f"{table.location} has no files that could be adopted: nothing was published there "
                "from here, or the table does not say who changed it"
            )
        now = table.state.manifest(last)
        if not table.is_rearranged(now):
            raise StateError(
                f"{table.location} has the files of manifest {now.id}: there is nothing to adopt"
            )
        if missing := [name for name, size in table.files().items() if size < 0]:
            raise StateError(
                f"{table.location}: {len(missing)} of its files are missing ({missing[0]}), so its "
                "rows are lost. Score the partition again, which replaces them"
            )
        new = manifest(now, tuple(present(table)), table.next_number())
        return _put_in_force(table, new, keep)


def take_over(
    table: TablePartition,
    based_on: Manifest | None,
    manifest: Manifest,
    files: Mapping[str, Location],
    keep: int,
) -> Manifest | None:
    """Put files in force that were published elsewhere, under the manifest that they have there.

    It gets another number if that is in use. The caller holds the partition (``exclusive``).

    Args:
        based_on: the manifest in force here that it replaces.
        files: published name -> path. In a table where files are put in place before they are in
            force, no name is one that other bytes may have.

    Returns:
        The manifest as it is in force; None if another one is in force than ``based_on``, as in a
        store a night may be published all the same. Then nothing was changed.

    Raises:
        Superseded: the partition was published before, and its state is gone.
        PublishError: the partition has files that no manifest names, or can't be swapped.
    """
    now = published_manifest(table)
    if (now and now.id) != (based_on and based_on.id):
        return None
    if now is None and (table.number() or 0) >= manifest.number:
        raise Superseded(
            f"{table.location} was published {table.number()} times before, and what is known "
            f"of that is gone, so {manifest.id} can't be moved there. Nothing was changed. "
            "Choose another place, or score it there"
        )
    if now is not None:
        manifest = replace(manifest, replaces=now.id)
        if now.number >= manifest.number:
            number = table.next_number()
            id_ = manifest_id(number, manifest.run_key)
            manifest = replace(manifest, number=number, id=id_)
    table.stage(files, manifest.run_key)
    # What it replaces in the other place is not what it replaces here.
    here = {"replaces": now.id if now else None, "adopted": ""}
    return _put_in_force(table, manifest, keep, here)


def present(table: TablePartition) -> Iterator[OutputFile]:
    """The files that the partition has now, as a manifest names them. No split is theirs."""
    for name in sorted(table.files()):
        path = table.file(name)
        yield OutputFile(
            name,
            file_digest(path),
            size_of(path),
            pq.read_metadata(native(path)).num_rows,
            "",
        )


def settle(table: TablePartition, keep: int) -> None:
    """Finish a publish that was killed after its swap.

    If another process is publishing, it will do this.
    """
    with suppress(Superseded, RetryableError), table.exclusive():
        now = published_manifest(table)
        if now is not None:
            table.settle(now, keep)


def _keep_quarantine(run: Run, results: list[SplitResult]) -> None:
    key = run.plan.run_key
    for result in results:
        if result.quarantine_file:
            kept = run.state.quarantine_file(key, file_name(result.index, key))
            source = run.attempt(result.quarantine_file)
            try:
                place(source, kept)
            except FileNotFoundError:
                raise gone(source) from None
    reach("commit.quarantined")


def _effect(manifest: Manifest) -> tuple[Any, ...]:
    """What tells manifests of one number and one run apart."""
    return manifest.restores, manifest.replaces, manifest.adopted, manifest.outputs


def _put_in_force(
    table: TablePartition, new: Manifest, keep: int, here: Mapping[str, Any] = MappingProxyType({})
) -> Manifest:
    """Write the manifest and swap; returns the manifest as it is stored.

    Args:
        here: fields of the manifest that the table takes to be others.
    """
    new = signed(new)
    raise_format(table.state.root)
    path = table.state.manifest_file(new.id)
    if not write(path, new, exclusive=True):
        there = table.state.manifest(new.id)  # of a process that publishes just now
        if _effect(there) == _effect(new):
            new = there
        elif isinstance(path, Path):  # there is a lock, so it is of a process that was killed
            write(path, new)
        else:
            raise Superseded(
                f"{table.location} is being published by another process, as {new.id} too, or one "
                "was killed while it did; this one changed nothing. Score it there (`nocturne "
                "score`), and look at `nocturne status`"
            )
    sync_folder(path.parent)
    reach("commit.written")
    try:
        table.swap(replace(new, **here))
    except Unsettled:
        raise  # it may be in force, and then the manifest is needed
    except (NocturneError, OSError):
        if isinstance(path, Path):  # without a lock, another process may have put it in force
            path.unlink()
        raise
    reach("commit.swapped")
    if isinstance(path, ObjectPath):  # without a lock, gc may have taken that of a stopped process
        write(path, new, exclusive=True)
    # It is in force: an error here must not remove the manifest.
    table.settle(replace(new, **here), keep)
    return new
