"""Staged files become the partition, in one atomic exchange, or nothing changes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from nocturne.errors import PublishError, StateError, Superseded
from nocturne.files import exchange, file_digest, locked, sync_folder
from nocturne.publish.manifests import current, file_name, next_number, path_of
from nocturne.records import Manifest, OutputFile, Run, SplitResult, write

__all__ = ["commit", "staged"]


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
        now = current(state, target)
        if now is not None and now.run_key == run.run_key:
            _retire(run, now)
            return now
        if (now.id if now else None) != run.based_on:
            raise Superseded(
                f"{run.pipeline} {run.partition.key}: these scores were planned when the "
                f"published manifest was {run.based_on or 'none'}; now it is "
                f"{now.id if now else 'none'}. Nothing was changed. Run the partition again if "
                "it should be replaced.",
                planned=run.based_on,
                published=now.id if now else None,
            )
        new = manifest(next_number(state), run.based_on)
        table = _arrange(run, results)
        _keep_quarantine(run, results)
        write(path_of(state, new.id), new, exclusive=True)
        sync_folder(path_of(state, new.id).parent)
        try:
            _swap(table, target)
        except (PublishError, OSError):
            path_of(state, new.id).unlink()  # it never came into force
            raise
        sync_folder(target.parent)  # in force already: an error here must not take it back
        _retire(run, new)
        _prune(state, keep)
    return new


def _arrange(run: Run, results: list[SplitResult]) -> Path:
    """A folder with every winning attempt under its final name: hard links, no copies."""
    table = Path(run.run_dir) / "table"
    shutil.rmtree(table, ignore_errors=True)
    table.mkdir()
    for result in results:
        source = Path(run.run_dir) / "attempts" / result.file
        if not source.exists():
            raise StateError(
                f"{source} is gone, though its result says that it was written; run "
                f"`nocturne score {run.pipeline} --date {run.partition.key} --force`"
            )
        os.link(source, table / file_name(result.index, run.run_key))
    sync_folder(table)
    return table


def _keep_quarantine(run: Run, results: list[SplitResult]) -> None:
    folder = Path(run.state_dir) / "quarantine" / run.run_key[:16]
    for result in results:
        if result.quarantine_file:
            folder.mkdir(parents=True, exist_ok=True)
            kept = folder / file_name(result.index, run.run_key)
            kept.unlink(missing_ok=True)
            os.link(Path(run.run_dir) / "attempts" / result.quarantine_file, kept)


def _swap(table: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        exchange(table, target)
    else:
        table.rename(target)


def _retire(run: Run, now: Manifest) -> None:
    """The files that the exchange brought out become a kept version; also after a crash there."""
    table = Path(run.run_dir) / "table"
    if now.replaces is not None and table.is_dir():
        old = Path(run.state_dir) / "versions" / now.replaces
        old.parent.mkdir(exist_ok=True)
        if not old.exists():
            table.rename(old)
    shutil.rmtree(table, ignore_errors=True)


def _prune(state: Path, keep: int) -> None:
    versions = state / "versions"
    names = sorted(p.name for p in versions.iterdir()) if versions.is_dir() else []
    for name in names[: max(0, len(names) - keep)]:
        shutil.rmtree(versions / name, ignore_errors=True)
