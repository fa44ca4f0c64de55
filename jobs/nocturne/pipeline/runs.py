"""Runs and published nights of a pipeline, with the settings that they were made with."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nocturne import table
from nocturne.config import Loaded, Pipeline, from_path, home
from nocturne.config import partition as partition_of
from nocturne.errors import NocturneError, StateError
from nocturne.model.tracking import run_url, tracking_uri
from nocturne.pipeline.places import Places
from nocturne.records import Manifest, Partition, PublishedNight, RunPlan, SplitResult
from nocturne.store.record_files import content, write
from nocturne.store.run import Run
from nocturne.table import TablePartition

__all__ = [
    "as_planned",
    "in_force",
    "logged_to",
    "mlflow_page",
    "open_run",
    "partitions_of",
    "published",
    "published_nights",
    "scores_of",
    "settings_of",
    "write_settings",
]


def open_run(run_dir: str | Path) -> Run:
    """The run of a run directory.

    Raises:
        StateError: it is none, is damaged, or was moved.
    """
    run = Run.open(run_dir)
    settings_of(run)
    return run


def write_settings(run: Run, settings: Pipeline) -> None:
    """Keep the pipeline as it is beside the run's plan."""
    write(run.settings_file, settings.model_dump(mode="json"))


def settings_of(run: Run) -> Pipeline:
    """The pipeline as it was when the run was planned.

    Raises:
        StateError: what the run says of it is damaged.
    """
    found: Any = None
    path = run.settings_file if run.settings_file.exists() else run.plan_file
    try:
        found = json.loads(content(path))
        # Plans of version 1 held them.
        return Pipeline.model_validate(found if path == run.settings_file else found["config"])
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
    """The pipeline as it was when the run was planned, in the project."""
    return Loaded(settings_of(run), {}, home())


def logged_to(loaded: Loaded) -> dict[str, str]:
    """Where in MLflow the pipeline's nights are logged: ``tracking_uri`` and ``experiment``."""
    settings = loaded.pipeline.registry
    return {
        "tracking_uri": tracking_uri(settings.tracking_uri, loaded.home),
        "experiment": settings.experiment or f"nocturne/{loaded.pipeline.name}",
    }


def mlflow_page(loaded: Loaded, run_id: str | None) -> str | None:
    """Where MLflow shows the run of a night of the pipeline; None if MLflow is no server."""
    return run_url(logged_to(loaded)["tracking_uri"], run_id)


def in_force(run: Run) -> Manifest | None:
    """The run's manifest if it is what is published now: its steps then have nothing to do."""
    now = table.published_manifest(table.table_of(run))
    return now if now is not None and now.run_key == run.plan.run_key else None


def published(loaded: Loaded, partition: Partition) -> Manifest:
    """The manifest in force.

    Raises:
        StateError: nothing is published.
        PublishError: the folder holds files that no manifest names.
    """
    output = Places.of(loaded).output(partition)
    manifest = table.published_manifest(output)
    if manifest is None:
        name = loaded.pipeline.name
        raise StateError(
            f"{name} {partition.key} is not published: {output.location} is "
            f"{'empty' if output.location.exists() else 'not there'}. See `nocturne status {name}`"
        )
    return manifest


def partitions_of(loaded: Loaded, whole: str | None = None) -> list[Partition]:
    """Partitions that have state, oldest first.

    Args:
        whole: the key under which an unpartitioned table counts; it is left out without one.
    """
    names = loaded.pipeline.input.partition
    if not names:
        return [] if whole is None else [partition_of(names, whole)]
    found = [from_path(names, path) for path in Places.of(loaded).state.folders(list(names))]
    return sorted((p for p in found if p), key=lambda p: p.key)


def published_nights(
    loaded: Loaded, before: str | None = None, last: int | None = None
) -> list[PublishedNight]:
    """Nights in force, oldest partition first; at most the ``last`` ones ``before`` a key.

    A night that somebody touched is left out: `status` shows it, and it must not stop others.
    """
    places = Places.of(loaded)
    partitions = [p for p in partitions_of(loaded) if before is None or p.key < before]
    found = []
    for partition in partitions[-last:] if last else partitions:
        with suppress(NocturneError):
            if (night := night_in_force(places.output(partition))) is not None:
                found.append(night)
    return found


def night_in_force(output: TablePartition) -> PublishedNight | None:
    """What is published of a partition, with its judgement.

    Raises:
        PublishError, StateError: it can't be told.
    """
    manifest = table.published_manifest(output)
    if manifest is None:
        return None
    return PublishedNight(manifest, output.state.judgement(manifest))


def scores_of(run: Run, result: SplitResult) -> Path:
    """A split's scores: in the run directory, or published."""
    staged = run.attempt(result.file)
    name = table.file_name(result.index, run.plan.run_key)
    return staged if staged.exists() else table.table_of(run).file(name)
