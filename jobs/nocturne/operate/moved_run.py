"""Copies a run to another place: its records, its plan, its quarantined rows and its model."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from nocturne.config import Loaded
from nocturne.config.models import Output
from nocturne.errors import StateError
from nocturne.model.copies import check_copy, fetch_models, keep_copy
from nocturne.objects import Location
from nocturne.operate.copying import below, copy_files, copy_records
from nocturne.pipeline.places import columns_of_partition, planned_output
from nocturne.pipeline.runs import settings_of
from nocturne.records.plan import ModelRef, RunPlan
from nocturne.store.files import digest
from nocturne.store.pipeline_state import PipelineState
from nocturne.store.record_files import content, write
from nocturne.store.run import Run
from nocturne.table_formats.protocol import TablePartition

__all__ = ["copy_run"]

_WORKING = ("attempts/", "progress/", "table/")
"""What a published run no longer needs."""


def copy_run(run: Run, output: TablePartition, target: Loaded) -> None:
    """Copy what the new place lacks of a run.

    Raises:
        StateError: the run is damaged, or its plan there is another one.
        ModelError: its model is missing or was changed.
    """
    key = run.plan.run_key
    there = output.state.run(key)
    skipped = {run.plan_file, run.settings_file, *run.copies()}
    files = {
        name: path
        for name, path in below(run.path).items()
        if path not in skipped and not name.startswith((".", *_WORKING))
    }
    copy_records(files, there.path)
    _write_plan(run, output, target)
    # After the plan, by which gc knows that it is needed.
    fetch_models(run)
    for model in run.plan.models:
        _copy_model(model, PipelineState(output.state.root).models)
    copy_files(below(run.state.quarantine(key)), output.state.quarantine(key))


def _write_plan(run: Run, output: TablePartition, target: Loaded) -> None:
    """Write the plan that names the new place, and its settings, unless they are there.

    Those that a killed move wrote for another format are written over; a plan that a manifest
    names never is.
    """
    there = output.state.run(run.plan.run_key)
    of_partition = columns_of_partition(output, (*run.plan.keys, *run.plan.passthrough))
    planned = planned_output(target.pipeline.output, output, of_partition)
    known = Run.open(there.path).plan if there.plan_file.is_file() else None
    is_fit = known is not None and _table(known) == _table(replace(run.plan, **planned))
    if known is not None and not is_fit and _is_named(there.plan_file, output):
        raise StateError(
            f"{there.plan_file} is the plan of a night that was published there as {known.format}, "
            f"so it can't become one for {target.pipeline.output.format}. Nothing was changed. "
            "Choose another place"
        )
    settings = settings_of(run)
    place_of = ("path", "format", "table", "state")
    place = {name: getattr(target.pipeline.output, name) for name in place_of}
    settings = settings.model_copy(update={"output": settings.output.model_copy(update=place)})
    keeps = _are_for(target.pipeline.output, there.settings_file)
    write(there.settings_file, settings.model_dump(mode="json"), exclusive=keeps)
    if not is_fit:
        state = PipelineState(output.state.root)
        plan = replace(
            run.plan.with_models(lambda m: replace(m, path=str(state.model(m.sha256)))),
            config_digest=digest(json.loads(content(there.settings_file))),
            **planned,
        )
        Run(there.path, output.state, plan).write_plan()


def _table(plan: RunPlan) -> tuple[object, ...]:
    """What a plan says of its table, without the place: the state belongs to one alone."""
    return plan.format, plan.table, plan.lake_types, plan.partition_columns


def _is_named(plan_file: Location, output: TablePartition) -> bool:
    return any(output.state.stored(m.run) == plan_file for m in output.state.history())


def _are_for(output: Output, settings_file: Location) -> bool:
    """Whether the settings that are there, if any, name such a table."""
    try:
        stored = json.loads(content(settings_file))["output"]
        return bool((stored["format"], stored["table"]) == (output.format, output.table))
    except FileNotFoundError:
        return True
    except (ValueError, KeyError, TypeError):
        return False


_checked = lru_cache(maxsize=64)(check_copy)
"""Hashes a model once for all nights that it has scored."""


def _copy_model(model: ModelRef, models: Location) -> None:
    _checked(model)
    keep_copy(Path(model.path), models / Path(model.path).name)
