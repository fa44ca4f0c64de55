"""Whole nights without Airflow: plan, score in one Spark application, judge and publish each."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nocturne import state
from nocturne.config import Loaded
from nocturne.errors import NocturneError, StateError, TerminalError
from nocturne.layout import Layout
from nocturne.pipeline.judging import judge
from nocturne.pipeline.prepare import Prepared, prepare
from nocturne.pipeline.publishing import approve, publish_run
from nocturne.pipeline.runs import open_run
from nocturne.pipeline.scoring import score
from nocturne.progress import Progress
from nocturne.publish import path_of
from nocturne.records import Manifest, Partition, Run

__all__ = ["Night", "approve_held", "score_range"]


@dataclass(frozen=True)
class Night:
    """What became of one partition."""

    partition: str
    outcome: str
    message: str
    manifest: Manifest | None = None
    manifest_path: str | None = None
    output: str | None = None
    exit_code: int = 0

    def as_json(self) -> dict[str, Any]:
        m = self.manifest
        return {
            "partition": self.partition,
            "outcome": self.outcome,
            "message": self.message,
            "manifest": self.manifest_path,
            "output": self.output,
            "rows_published": m.rows_published if m else None,
            "rows_quarantined": m.rows_quarantined if m else None,
            "model_version": m.model.version if m else None,
            "verdict": m.verdict if m else None,
        }


def score_range(
    loaded: Loaded,
    nights: Sequence[Partition],
    *,
    force: bool,
    dry_run: bool,
    say: Callable[[str], None],
) -> list[Night]:
    """Score the partitions; one that fails does not stop the others."""
    done: dict[str, Night] = {}
    todo: list[Run] = []
    for partition in nights:
        try:
            prepared = prepare(loaded, partition, force=force, dry_run=dry_run)
        except Exception as error:
            done[partition.key] = _failed(partition, error, say)
            continue
        say(prepared.message)
        if prepared.action == "score" and prepared.run:
            todo.append(prepared.run)
        else:
            done[partition.key] = _unscored(partition, prepared)
    failures = score(todo, master=loaded.pipeline.spark.master, progress=Progress()) if todo else {}
    for run in todo:
        try:
            if scoring := failures.get(run.run_dir):
                raise scoring
            judgement = judge(run)
            say(f"{run.partition.key}: verdict {judgement.verdict}"
                + "".join(f"\n  {reason}" for reason in judgement.reasons))  # fmt: skip
            done[run.partition.key] = _published(run, publish_run(run))
        except Exception as failure:
            done[run.partition.key] = _failed(run.partition, failure, say)
    return [done[partition.key] for partition in nights]


def _failed(partition: Partition, error: Exception, say: Callable[[str], None]) -> Night:
    if not isinstance(error, NocturneError):
        traceback.print_exception(error)
        error = TerminalError(f"{partition.key}: {type(error).__name__}: {error}")
    say(f"nocturne: {error}")
    outcome = "held" if error.exit_code == 3 else "failed"
    return Night(partition.key, outcome, str(error), exit_code=error.exit_code)


def _unscored(partition: Partition, prepared: Prepared) -> Night:
    outcome = {"nothing": "unchanged", "skip": "skipped"}.get(prepared.action, "dry run")
    if prepared.action != "nothing" or prepared.run is None or prepared.manifest is None:
        return Night(partition.key, outcome, prepared.message)
    return _published(prepared.run, prepared.manifest, outcome, prepared.message)


def _published(run: Run, manifest: Manifest, outcome: str = "published", said: str = "") -> Night:
    path = str(path_of(Path(run.state_dir), manifest.id))
    return Night(run.partition.key, outcome, said, manifest, path, run.output_dir)


def approve_held(loaded: Loaded, partition: Partition, by: str) -> Manifest:
    """Publish what is held.

    Raises:
        StateError: nothing is held there.
        Superseded: something newer was published meanwhile.
    """
    found = state.recall(Layout.of(loaded).partition_state(partition))
    if found is None or found.state != "held":
        raise StateError(
            f"{loaded.pipeline.name} {partition.key} has no held scores (it is "
            f"{found.state if found else 'not running, held or failed'}); see `nocturne status "
            f"{loaded.pipeline.name}`"
        )
    run = open_run(found.run_dir)
    approve(run, by)
    return publish_run(run)
