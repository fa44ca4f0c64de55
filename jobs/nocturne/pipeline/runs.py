"""Runs and published nights of a pipeline, with their settings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from nocturne import table
from nocturne.config import Loaded, Pipeline, home
from nocturne.errors import StateError
from nocturne.model.tracking import run_url, tracking_uri
from nocturne.objects import Location
from nocturne.quality.duplicates import ScoredKeys
from nocturne.records.manifest import Manifest
from nocturne.records.plan import RunPlan
from nocturne.records.result import SplitResult
from nocturne.store.record_files import content, write
from nocturne.store.run import Run

__all__ = [
    "as_planned",
    "logged_to",
    "manifest_in_force",
    "mlflow_page",
    "open_run",
    "scored_keys",
    "scores_of",
    "settings_of",
    "write_settings",
]


def open_run(run_dir: str | Location) -> Run:
    """The run of a run directory.

    Raises:
        StateError: there is no run in it, or it is damaged or was moved.
    """
    run = Run.open(run_dir)
    settings_of(run)
    return run


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
    keys = []
    for result in results:
        scores = scores_of(run, result)
        keys.append(ScoredKeys(scores, run.keys_file(scores), result.rows_out))
    return keys


def scores_of(run: Run, result: SplitResult) -> Location:
    """The file with a split's scores, in the run directory or published."""
    staged = run.attempt(result.file)
    if staged.is_file():
        return staged
    output = table.table_of(run)
    path = output.file(table.file_name(result.index, run.plan.run_key))
    if path.is_file():
        return path
    # A night that was moved into a lake has other names there.
    line, _ = run.state.known_lineage(table.published_manifest(output))
    names = (
        file.path
        for manifest in line
        for file in manifest.outputs
        if manifest.run_key == run.plan.run_key and file.split == result.key
    )
    return output.file(next(names, path.name))
