"""Staged files become the partition, in one atomic exchange, or nothing changes.

A commit writes the manifest, then exchanges the folders. Published file names carry the run
key, so the folder itself says which manifest is in force: before the exchange the old one,
after it the new one. What follows (the old files become a kept version) is done by whoever
finds it undone: ``settle``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from nocturne.errors import PublishError, StateError, Superseded
from nocturne.publish.manifests import (
    current,
    file_name,
    known_lineage,
    next_number,
    path_of,
    quarantine_folder,
    run_folder,
    unchanged,
    version_of,
)
from nocturne.records import Manifest, OutputFile, Run, SplitResult
from nocturne.store.failpoints import reach
from nocturne.store.files import check_exchange, exchange, file_digest, locked, sync_folder
from nocturne.store.record_files import write

__all__ = ["check_target", "commit", "restore", "settle", "staged"]


def check_target(state: Path, target: Path) -> None:
    """Returns if ``target`` can be published, as far as trying tells without touching it.

    Raises:
        PublishError: it is a link, a file or a mount point, or can't change places with what
            lies in ``state``.
    """
    _refuse_odd(target)
    if os.path.ismount(target):
        raise PublishError(
            f"{target} is a mount point, so it can't be replaced in one step; nothing was changed. "
            "Mount a folder above output.path instead"
        )
    check_exchange(state, target.parent)


def _refuse_odd(target: Path) -> None:
    if target.is_symlink():
        raise PublishError(
            f"{target} is a link to {target.readlink()}: publishing would replace the link, and "
            "leave what it leads to where no rollback finds it. Nothing was changed. Move the "
            "folder itself there (on the same file system), or name its place in output.path",
            path=str(target),
        )
    if target.exists() and not target.is_dir():
        raise PublishError(
            f"{target} is a file; expected the folder of a published partition, or nothing. "
            "Nothing was changed. Move it away, or choose another output.path",
            path=str(target),
        )


def staged(run: Run, results: list[SplitResult]) -> tuple[list[OutputFile], list[OutputFile]]:
    """The output and quarantine files as they will be named once published."""
    outputs, quarantine = [], []
    for r in results:
        name = file_name(r.index, run.run_key)
        outputs.append(OutputFile(name, r.sha256, r.size, r.rows_out, r.key))
        if r.quarantine_file:
            path = Path(run.run_dir) / "attempts" / r.quarantine_file
            quarantine.append(
                OutputFile(name, file_digest(path), path.stat().st_size, r.quarantined, r.key)
            )
    return outputs, quarantine


def check_base(run: Run, now: Manifest | None) -> None:
    """Raises: Superseded if what is published ``now`` is not what the run's plan saw."""
    published = now.id if now else None
    if published != run.based_on:
        raise Superseded(
            f"{run.pipeline} {run.partition.key}: these scores were planned when the published "
            f"manifest was {run.based_on or 'none'}; now it is {published or 'none'}. Nothing was "
            "changed. Run the partition again if it should be replaced.",
            planned=run.based_on,
            published=published,
        )


def commit(
    run: Run, results: list[SplitResult], manifest: Callable[[int, str | None], Manifest], keep: int
) -> Manifest:
    """Publish a run's files with its manifest: a compare-and-swap under the partition's lock.

    Args:
        manifest: makes the manifest from its number and the id of the one that it replaces.
        keep: replaced versions that stay on disk.

    Raises:
        Superseded: the partition's manifest is no longer the one that the plan saw.
        PublishError: the partition holds files of somebody else, or can't be exchanged.
    """
    state, target = Path(run.state_dir), Path(run.output_dir)
    with locked(state / "lock"):
        reach("commit.locked")
        now = current(state, target)
        if now is not None:
            _settle(state, now, keep)
            if now.run_key == run.run_key:
                return now
        check_base(run, now)
        new = manifest(next_number(state), run.based_on)
        attempts = Path(run.run_dir) / "attempts"
        files = {file_name(r.index, run.run_key): attempts / r.file for r in results}
        table = _arrange(files, Path(run.run_dir) / "table")
        reach("commit.arranged")
        _keep_quarantine(run, results)
        _put_in_force(state, target, table, new, keep)
    return new


def restore(
    state: Path,
    target: Path,
    earlier: Manifest,
    manifest: Callable[[int, str], Manifest],
    keep: int,
) -> Manifest:
    """Put the files of an earlier manifest in force again, as a new manifest.

    Args:
        manifest: makes the new manifest from its number and the id of the one that it replaces.

    Raises:
        StateError: nothing is published, or the earlier files are no longer kept as they were.
        Superseded: another process is publishing.
    """
    with locked(state / "lock"):
        reach("commit.locked")
        now = current(state, target)
        if now is None:
            raise StateError(f"{target} is not published, so there is nothing to roll back")
        _settle(state, now, keep)
        if now.run_key == earlier.run_key:
            return now
        kept = version_of(state, earlier)
        if kept is None:
            raise StateError(
                f"the files of manifest {earlier.id} are no longer kept (output.keep is {keep}). "
                "Score the partition again with that model (--model-version "
                f"{earlier.model.version}), or raise output.keep for the future"
            )
        for file in earlier.outputs:
            if not unchanged(kept / file.path, file):
                raise StateError(
                    f"{kept / file.path} is not the file that manifest {earlier.id} published "
                    "(missing or damaged); nothing was changed. Choose another manifest"
                )
        files = {file.path: kept / file.path for file in earlier.outputs}
        table = _arrange(files, run_folder(state, earlier) / "table")
        reach("commit.arranged")
        new = manifest(next_number(state), now.id)
        _put_in_force(state, target, table, new, keep)
    return new


def settle(state: Path, target: Path, keep: int) -> None:
    """Finish what a publish that was killed after its exchange left undone.

    Where another process is publishing, that one does it.
    """
    with suppress(Superseded), locked(state / "lock"):
        now = current(state, target)
        if now is not None:
            _settle(state, now, keep)


def _arrange(files: Mapping[str, Path], table: Path) -> Path:
    """A folder with the files under their final names: hard links, no copies."""
    shutil.rmtree(table, ignore_errors=True)
    table.mkdir(parents=True)
    for name, source in files.items():
        if not source.exists():
            raise StateError(
                f"{source} is gone, though its result says that it was written; run the "
                "partition again with --force"
            )
        os.link(source, table / name)
    sync_folder(table)
    return table


def _keep_quarantine(run: Run, results: list[SplitResult]) -> None:
    folder = quarantine_folder(Path(run.state_dir), run.run_key)
    for result in results:
        if result.quarantine_file:
            folder.mkdir(parents=True, exist_ok=True)
            kept = folder / file_name(result.index, run.run_key)
            kept.unlink(missing_ok=True)
            os.link(Path(run.run_dir) / "attempts" / result.quarantine_file, kept)
    reach("commit.quarantined")


def _put_in_force(state: Path, target: Path, table: Path, new: Manifest, keep: int) -> None:
    _refuse_odd(target)
    path = path_of(state, new.id)
    write(path, new, exclusive=True)
    sync_folder(path.parent)
    reach("commit.written")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            exchange(table, target)
        else:
            table.rename(target)
    except (PublishError, OSError):
        path.unlink()  # it never came into force
        raise
    reach("commit.swapped")
    sync_folder(target.parent)  # in force already: an error here must not take it back
    _settle(state, new, keep)


def _settle(state: Path, now: Manifest, keep: int) -> None:
    """The files that the exchange brought out become a kept version; too old ones go."""
    table = run_folder(state, now) / "table"
    if now.replaces is not None and table.is_dir():
        old = state / "versions" / now.replaces
        old.parent.mkdir(exist_ok=True)
        if not old.exists():
            table.rename(old)
    shutil.rmtree(table, ignore_errors=True)
    reach("commit.retired")
    for path in superfluous_versions(state, now, keep):
        shutil.rmtree(path, ignore_errors=True)
    reach("commit.pruned")


def superfluous_versions(state: Path, now: Manifest, keep: int) -> list[Path]:
    """Kept versions past ``keep``, and those whose files are in force again.

    None, where a manifest is damaged: which versions are wanted can't be told.
    """
    folder = state / "versions"
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    known, broken = known_lineage(state, now)
    if broken is not None:
        return []
    line = {manifest.id for manifest in known}
    wanted = [p for p in found if p.name in line and not p.name.endswith(now.run_key[:16])]
    wanted = wanted[-keep:] if keep else []
    return [path for path in found if path not in wanted]
