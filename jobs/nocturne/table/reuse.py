"""Takes over splits whose key did not change from the published partition."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from pathlib import Path

from nocturne.codec import load
from nocturne.errors import InputChanged, StateError
from nocturne.objects import Location, ObjectPath
from nocturne.records.manifest import Manifest, OutputFile
from nocturne.records.result import SplitResult
from nocturne.store.failpoints import reach
from nocturne.store.files import fetch, place
from nocturne.store.record_files import content, write
from nocturne.store.run import Run
from nocturne.table_formats.protocol import TablePartition, has_bytes

__all__ = ["reuse"]

log = logging.getLogger(__name__)


def reuse(run: Run, table: TablePartition, current: Manifest, *, bound: bool = False) -> int:
    """Link published files with the same split keys into the run; returns the number of splits.

    A split is scored again if its file or its result no longer has the bytes of the manifest.

    Args:
        bound: the manifest has to name the bytes of its result, as one that is signed has to.
    """
    published = {file.split: file for file in current.outputs}
    quarantined = {file.split: file for file in current.quarantine}
    earlier = table.state.run(current.run_key).results_by_key()
    there = {*run.result_files()}
    reused = 0
    for split in run.plan.splits:
        file = published.get(split.key)
        earlier_result = earlier.get(split.key[:16])
        target = run.result_file(split)
        if file is None or earlier_result is None or target in there:
            continue
        old = _result(earlier_result, file, bound)
        if old is None or old.key != split.key:
            continue
        name = f"{split.index:05d}-{split.key[:16]}-reused.parquet"
        if not _link(table.file(file.path), run.attempt(name), file):
            continue
        quarantine_file = quarantined.get(split.key)
        if quarantine_file is not None:
            source = table.state.quarantine_file(current.run_key, quarantine_file.path)
            if not _link(source, run.attempt(f"quarantine-{name}"), quarantine_file):
                continue
        reach("prepare.linked")
        new = replace(
            old,
            index=split.index,
            file=name,
            sha256=file.sha256,  # not always those of its result: it may have been moved
            size=file.size,
            finished=old.started,
            quarantine_file=f"quarantine-{name}" if quarantine_file else None,
        )
        write(target, new, exclusive=True)
        reused += 1
    return reused


def _result(path: Location, file: OutputFile, bound: bool) -> SplitResult | None:
    """The counts and statistics of a split; None if they are damaged, or not those published."""
    try:
        text = content(path)
        if (file.result or bound) and hashlib.sha256(text).hexdigest() != file.result:
            log.warning("%s is not what was published; its split is scored again", path)
            return None
        return load(SplitResult, text, str(path))
    except (OSError, StateError):
        return None


def _link(source: Location, target: Location, expected: OutputFile) -> bool:
    """Whether the file has the bytes that are expected, and the run has it now."""
    if isinstance(source, ObjectPath) and isinstance(target, Path):
        return _download(source, target, expected)
    if not has_bytes(source, expected):
        return False
    place(source, target)
    return True


def _download(source: ObjectPath, target: Path, expected: OutputFile) -> bool:
    try:
        fetch(source, target)
    except (FileNotFoundError, InputChanged):
        return False
    if has_bytes(target, expected):
        return True
    target.unlink()
    return False
