"""Splits whose key did not change are taken over from the published partition."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from nocturne.errors import StateError
from nocturne.publish.manifests import quarantine_folder, run_folder, unchanged
from nocturne.records import Manifest, OutputFile, Run, SplitResult
from nocturne.store.failpoints import reach
from nocturne.store.record_files import read, write
from nocturne.store.rundir import result_path

__all__ = ["reuse"]


def reuse(run: Run, current: Manifest) -> int:
    """Link published files of equal split key into the run; returns how many splits.

    A file whose bytes are no longer those of the manifest is left alone, as is one whose result
    is damaged: its split is scored again.
    """
    published = {file.split: file for file in current.outputs}
    quarantined = {file.split: file for file in current.quarantine}
    state = Path(run.state_dir)
    earlier = run_folder(state, current) / "results"
    taken = 0
    for split in run.splits:
        file = published.get(split.key)
        found = next(iter(earlier.glob(f"*-{split.key[:16]}.json")), None)
        target = result_path(run, split)
        if file is None or found is None or target.exists():
            continue
        try:
            old = read(SplitResult, found)
        except StateError:  # damaged: its split is scored again
            continue
        if old.key != split.key:
            continue
        attempts = Path(run.run_dir) / "attempts"
        name = f"{split.index:05d}-{split.key[:16]}-reused.parquet"
        if not _link(Path(run.output_dir) / file.path, attempts / name, file):
            continue
        bad = quarantined.get(split.key)
        if bad is not None:
            source = quarantine_folder(state, current.run_key) / bad.path
            if not _link(source, attempts / f"quarantine-{name}", bad):
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
    if not unchanged(source, expected):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
    return True
