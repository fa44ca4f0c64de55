"""Copies what belongs to a moved night besides its scores: earlier manifests, later decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nocturne.config import Loaded
from nocturne.errors import ModelError, StateError
from nocturne.operate.moved_run import copy_run
from nocturne.pipeline.signer import require_signed
from nocturne.records.manifest import Manifest
from nocturne.store.files import file_digest, write_atomic
from nocturne.store.partition_state import PartitionState
from nocturne.store.record_files import content, write
from nocturne.store.run import Run
from nocturne.table import signed
from nocturne.table_formats.protocol import TablePartition

__all__ = ["copy_decisions", "copy_history", "referring"]


def copy_history(
    source: TablePartition,
    output: TablePartition,
    line: Sequence[Manifest],
    broken: StateError | None,
    target: Loaded,
) -> str:
    """Copy what was in force before, as far back as it is whole; returns why no further, or ""."""
    last = line[0]
    for earlier in line[1:]:
        try:
            for stored in (earlier.run, earlier.judgement):
                path = source.state.stored(stored)
                if not path.is_file() or stored.sha256 not in ("", file_digest(path)):
                    raise StateError(f"{path} is missing or was changed")
            require_signed(target, source.state, earlier)
            copy_run(Run.at(source.state, earlier.run_key), output, target)
            path = output.state.manifest_file(earlier.id)
            referred = signed(referring(earlier, source.state, output.state))
            write(path, referred, exclusive=True)
        except (StateError, ModelError) as error:
            return f"without what was in force before {last.id}: {error}"
        last = earlier
    return f"without what was in force before {last.id}: {broken}" if broken is not None else ""


def referring(manifest: Manifest, source: PartitionState, state: PartitionState) -> Manifest:
    """The manifest with references to the copies of its run's files."""
    run, judgement = state.run(manifest.run_key), content(source.stored(manifest.judgement))
    write_atomic(run.judgement_file, judgement, exclusive=True, durable=True)
    return replace(
        manifest,
        run=state.reference(run.plan_file, content(run.plan_file)),
        judgement=state.reference(run.judgement_file, judgement),
    )


def copy_decisions(
    old: PartitionState, line: Sequence[Manifest], new: PartitionState, there: Manifest
) -> None:
    """Copy what was said of nights after they were published: by a person, or by MLflow."""
    pairs = {(m.content, m.published): m for m in reversed(line)}
    newest, *earlier = new.known_lineage(there)[0]
    known_there = [(m, pairs.get((m.content, m.published))) for m in earlier]
    for manifest, known in [(newest, line[0]), *known_there]:
        if known is None:
            continue
        for path, copy in (
            (old.accepted(known.id), new.accepted(manifest.id)),
            (old.run(known.run_key).logged_file, new.run(manifest.run_key).logged_file),
        ):
            if path.is_file() and not copy.is_file():
                write_atomic(copy, content(path), exclusive=True, durable=True)
