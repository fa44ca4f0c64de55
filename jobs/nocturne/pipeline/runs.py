"""Runs and published nights of a pipeline, with their settings."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from nocturne import table
from nocturne.config import Loaded, Pipeline, home, shared
from nocturne.errors import StateError
from nocturne.model.copies import fetch_model
from nocturne.model.registry import require_loadable
from nocturne.model.tracking import run_url, tracking_uri
from nocturne.objects import Location
from nocturne.plan import key_of
from nocturne.profile.comparing import merged
from nocturne.quality.duplicates import ScoredKeys
from nocturne.records.arms import Served, ServedArm
from nocturne.records.challengers import Dropped
from nocturne.records.manifest import Manifest
from nocturne.records.plan import ModelRef, RunPlan
from nocturne.records.result import SplitResult
from nocturne.store.record_files import content, find, write
from nocturne.store.run import Run

__all__ = [
    "allows_pickle",
    "as_planned",
    "in_effect",
    "logged_to",
    "manifest_in_force",
    "mlflow_page",
    "open_run",
    "require_arms",
    "require_model",
    "scored_files",
    "scored_keys",
    "served_by",
    "settings_of",
    "whole",
    "why_out",
    "write_settings",
]


def open_run(run_dir: str | Location) -> Run:
    """The run of a run directory.

    Raises:
        StateError: there is no run in it, or it is damaged or was moved.
    """
    run = Run.open(run_dir)
    settings_of(run)
    return in_effect(run)


def in_effect(run: Run) -> Run:
    """The run that is scored, judged and published: that without arms, if they were dropped.

    Raises:
        StateError: that run is gone.
    """
    if run.plan.arms is None or (dropped := run.dropped()) is None:
        return run
    without = Run.at(run.state, run.plan.arms.without)
    served = replace(served_by(run), **why_out(dropped))
    before = None
    with suppress(StateError):
        before = find(Served, without.arms_file)
    if before is None or before.models != served.models:
        write(without.arms_file, served)
    return without


def whole(run: Run) -> Run:
    """``in_effect``; if all splits of the run are scored, its arms can't be dropped after this."""
    if run.plan.arms is not None and run.is_scored:
        run.keep_arms()
    return in_effect(run)


def why_out(dropped: Dropped) -> dict[str, Any]:
    """``out`` and ``dropped`` of ``Served``, for arms that were dropped."""
    return {"out": "suspected" if dropped.died else "failed", "dropped": dropped.why}


def served_by(run: Run, results: Sequence[SplitResult] = ()) -> Served:
    """How the keys of a run with arms are shared; with ``results``, what became of it."""
    arms = run.plan.arms
    assert arms is not None
    each = []
    for arm in arms.arms:
        parts = [result.arms[arm.name] for result in results if arm.name in result.arms]
        compared = merged([part.comparison for part in parts if part.comparison is not None])
        rows = compared.rows if compared else 0
        each.append(
            ServedArm(
                arm.name,
                arm.model.name,
                arm.model.version,
                arm.model.sha256,
                arm.percent,
                sum(part.rows for part in parts),
                sum(sum(part.failed.values()) for part in parts),
                compared.absolute / rows if compared and rows else None,
            )
        )
    own = key_of(run.plan.own_split_keys)
    return Served(arms.name, arms.key, arms.salt, tuple(each), own)


def write_settings(run: Run, settings: Pipeline) -> None:
    """Write the pipeline's settings beside the run's plan."""
    write(run.settings_file, settings.model_dump(mode="json"))


def settings_of(run: Run) -> Pipeline:
    """The pipeline as it was when the run was planned.

    Raises:
        StateError: the stored settings are damaged.
    """
    stored: Any = None
    path = run.settings_file if run.settings_file.is_file() else run.plan_file
    try:
        stored = json.loads(content(path))
        # Plans of version 1 contained them.
        return Pipeline.model_validate(stored if path == run.settings_file else stored["config"])
    except ValidationError as error:
        first = error.errors()[0]
        where = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        where = f"{type(error).__name__}: {error}"
    raise StateError(
        f"{path}: config.{where}. It was written by another version or is damaged. {RunPlan.mend}",
        run_dir=str(run.path),
    )


def require_model(run: Run, loadable: Callable[[ModelRef, bool], None] = require_loadable) -> None:
    """Fetch the run's model, and check it as when it was resolved.

    Raises:
        NocturneError: it is gone, was changed, or holds code that is not allowed.
    """
    fetch_model(run)
    loadable(run.plan.model, settings_of(run).model.allow_pickle)


def require_arms(
    run: Run,
    settings: Pipeline,
    loadable: Callable[[ModelRef, bool], None] = require_loadable,
) -> None:
    """``require_model`` for the models of the run's arms.

    Args:
        settings: say which of them may run code when they are loaded.
    """
    for arm in run.plan.each_arm:
        fetch_model(run.of_arm(arm))
        loadable(arm.model, allows_pickle(settings, arm.name))


def allows_pickle(pipeline: Pipeline, arm: str) -> bool:
    """Whether the model of an arm may run code when it is loaded."""
    sharing = shared(pipeline)
    return sharing is not None and any(
        other.allow_pickle for other, _, _ in sharing.arms if other.called == arm
    )


def as_planned(run: Run) -> Loaded:
    """The pipeline as it was when the run was planned, with the project's home."""
    return Loaded(settings_of(run), {}, home())


def logged_to(loaded: Loaded) -> dict[str, str]:
    """``tracking_uri`` and ``experiment`` of MLflow that the pipeline's nights are logged to."""
    settings = loaded.pipeline.registry
    return {
        "tracking_uri": tracking_uri(settings.tracking_uri, loaded.home),
        "experiment": settings.experiment or f"nocturne/{loaded.pipeline.name}",
    }


def mlflow_page(loaded: Loaded, run_id: str | None) -> str | None:
    """The URL of a night's MLflow run; None if MLflow is not a server."""
    return run_url(logged_to(loaded)["tracking_uri"], run_id)


def manifest_in_force(run: Run) -> Manifest | None:
    """The run's manifest if it is published now, so that its steps have nothing to do."""
    now = table.published_manifest(table.table_of(run))
    return now if now is not None and now.run_key == run.plan.run_key else None


def scored_keys(run: Run, results: Sequence[SplitResult]) -> list[ScoredKeys]:
    """The files with the keys of a run's scores."""
    return [
        ScoredKeys(scores, run.keys_file(scores), rows)
        for scores, rows in scored_files(run, results)
    ]


def scored_files(run: Run, results: Sequence[SplitResult]) -> list[tuple[Location, int]]:
    """The files with a run's scores, in the run directory or published, and the rows of each.

    Published files may have other names, and each the rows of several splits: a night that was
    moved into a lake, or one whose files another program has arranged anew.

    Raises:
        StateError: some of them are gone.
    """
    output = table.table_of(run)
    files = list[tuple[Location, int]]()
    for result in results:
        name = table.file_name(result.index, run.plan.run_key)
        paths = (run.attempt(result.file), output.file(name))
        files += [(path, result.rows_out) for path in paths if path.is_file()][:1]
    if len(files) == len(results):
        return files
    line, _ = run.state.known_lineage(table.published_manifest(output))
    for night in line:
        if night.run_key == run.plan.run_key and night.adopted != "rows":
            files = [(output.file(file.path), file.rows) for file in night.outputs]
            if all(path.is_file() for path, _ in files):
                return files
    raise StateError(
        f"{run.path} has no files with its scores any more: they were removed, or another program "
        "has changed or arranged its rows anew (then `nocturne adopt` first). Score the partition "
        "again with --force",
        run_dir=str(run.path),
    )
