"""Splits whose key did not change are taken over from the published partition."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from nocturne.errors import StateError
from nocturne.records.manifest import Manifest, OutputFile
from nocturne.records.result import SplitResult
from nocturne.store.failpoints import reach
from nocturne.store.record_files import read, write
from nocturne.store.run import Run
from nocturne.table_formats.protocol import TablePartition, has_bytes

__all__ = ["reuse"]


def reuse(run: Run, table: TablePartition, current: Manifest) -> int:
    """Link published files of equal split key into the run; returns how many splits.

    A file whose bytes are no longer those of the manifest is left alone, as is one whose result
    is damaged: its split is scored again.
    """
    published = {file.split: file for file in current.outputs}
    quarantined = {file.split: file for file in current.quarantine}
    earlier = table.state.run(current.run_key)
    taken = 0
    for split in run.plan.splits:
        file = published.get(split.key)
        found = earlier.result_of(split.key)
        target = run.result_file(split)
        if file is None or found is None or target.exists():
            continue
        try:
            old = read(SplitResult, found)
        except StateError:  # damaged: its split is scored again
            continue
        if old.key != split.key:
            continue
        name = f"{split.index:05d}-{split.key[:16]}-reused.parquet"
        if not _link(table.file(file.path), run.attempt(name), file):
            continue
        bad = quarantined.get(split.key)
        if bad is not None:
            source = table.state.quarantine_file(current.run_key, bad.path)
            if not _link(source, run.attempt(f"quarantine-{name}"), bad):
                continue
        reach("prepare.linked")
        new = replace(
            old,
            index=split.index,
            file=name,
            finished=old.started,
            quarantine_file=f"quarantine-{name}" if bad else None,
        )
        write(target, new, exclusive=True)
        taken += 1
    return taken


def _link(source: Path, target: Path, expected: OutputFile) -> bool:
    if not has_bytes(source, expected):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
    return True
