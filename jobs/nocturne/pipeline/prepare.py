"""Prepare: resolve the model, plan the partition, and write the run's plan or refuse it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

import pyarrow as pa

from nocturne import plan, table
from nocturne.columns.normal import packed
from nocturne.config import Loaded
from nocturne.encoding import MODEL_VERSION
from nocturne.errors import (
    ConfigError,
    NocturneError,
    PartitionMissing,
    StateError,
    TerminalError,
    disk_errors,
)
from nocturne.fitting import output_schema
from nocturne.host.identity import AIRFLOW_CODE, AIRFLOW_PAGE, ASKED_BY, code
from nocturne.model.requirements import warning
from nocturne.pipeline.adopting import adopt_if_same_rows
from nocturne.pipeline.arms import Chosen, arms_in_force, arms_of, choose
from nocturne.pipeline.challengers import (
    challenge,
    champion_in_force,
    fitted_beside,
    only_its_casts,
    publish_challengers,
    share_quarantine,
    try_again,
)
from nocturne.pipeline.counting import centers, segments
from nocturne.pipeline.expectations import (
    check_sensitive,
    expected_columns,
    measured_tables,
    refuse_early,
    suites_of,
)
from nocturne.pipeline.looking import look
from nocturne.pipeline.model import Resolve, resolver
from nocturne.pipeline.pinning import pin, tune
from nocturne.pipeline.places import Places, columns_of_partition, planned_output
from nocturne.pipeline.runs import write_settings
from nocturne.pipeline.scoring import Executor
from nocturne.pipeline.shape import check_shape, note_shape
from nocturne.pipeline.signer import manifest_problem, require_signer
from nocturne.pipeline.splits import KeyedPieces
from nocturne.quality.duplicates import check_size
from nocturne.records.manifest import Manifest
from nocturne.records.partition import Partition
from nocturne.records.plan import RunPlan, Tuning
from nocturne.records.result import SplitResult
from nocturne.records.status import Confirmed
from nocturne.source.protocol import Seen
from nocturne.source.ready import check_ready
from nocturne.store.failpoints import reach
from nocturne.store.files import digest, forget
from nocturne.store.partition_state import now
from nocturne.store.record_files import read, write
from nocturne.store.run import Run
from nocturne.table_formats.protocol import TablePartition

__all__ = ["Prepared", "prepare", "ready", "tuning"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """The decision of ``prepare``. ``run`` is None for "skip"."""

    action: Literal["score", "nothing", "skip", "dry_run"]
    message: str
    run: Run | None = None
    manifest: Manifest | None = None


def ready(loaded: Loaded, partition: Partition) -> None:
    """Check that the partition is complete.

    Raises:
        PartitionMissing: it does not exist.
        NotReady: it is not complete yet.
    """
    condition = loaded.pipeline.input.ready
    check_ready(
        Places.of(loaded).inputs,
        partition,
        success_file=condition.success_file,
        min_rows=condition.min_rows,
        min_age_minutes=condition.min_age_minutes,
    )


@dataclass(frozen=True)
class _Options:
    """The options of ``prepare``."""

    force: bool
    dry_run: bool
    requeue: bool
    hold: str
    caller: dict[str, str]
    page: str
    asked_by: str
    champion: Run | None = None


def prepare(
    loaded: Loaded,
    partition: Partition,
    *,
    force: bool = False,
    dry_run: bool = False,
    requeue: bool = False,
    hold: str = "",
    caller: Mapping[str, str] | None = None,
    resolve: Resolve | None = None,
    by: Executor | None = None,
    champion: Run | None = None,
) -> Prepared:
    """Resolve the model and plan the partition; writes the plan unless it is a dry run.

    Args:
        force: score again although the same scores are published.
        requeue: score the splits with quarantined rows again, and reuse the others.
        hold: why a person must look at the night before it is published.
        caller: the versions of the calling program, and its page of the night: see ``RunPlan``.
        resolve: returns the model; the nights of a range share it.
        by: what tries a model that this machine can't try, if Spark's workers are on other
            machines. Default: a new application.
        champion: of a challenger, the run that it is scored beside. Default: the published one.

    Raises:
        NocturneError: the partition can't be scored; no row has been.
    """
    places = Places.of(loaded)
    caller = dict(caller or {})
    page, asked_by = caller.pop(AIRFLOW_PAGE, ""), caller.pop(ASKED_BY, "")
    skew = _version_warning(loaded, caller)
    try:
        ready(loaded, partition)
    except PartitionMissing as error:
        if loaded.pipeline.input.on_missing == "skip":
            return Prepared("skip", f"skipped, as input.on_missing says: {error}")
        raise
    places.claim()
    try:
        with disk_errors():
            require_signer(loaded)
            alone = champion_in_force(loaded, partition) if champion is None else None
            if alone is not None:
                champion = alone[0]
            options = _Options(force, dry_run, requeue, hold, caller, page, asked_by, champion)
            planned = _planned(loaded, partition, places, options, resolve or resolver(loaded), by)
            if planned.action == "nothing" and planned.manifest is not None and not dry_run:
                _publish_what_is_left(loaded, places, planned.manifest)
            if planned.run is not None and planned.action == "score":
                if alone is not None:
                    share_quarantine(*alone, planned.run)
                elif champion is None:
                    said = challenge(loaded, planned.run, force=force, by=by)
                    planned = replace(planned, message="\n".join([planned.message, *said]))
            return replace(planned, message=planned.message + skew + _package_warning(planned.run))
    except TerminalError as error:
        if not dry_run:
            with suppress(OSError, NocturneError):
                places.state.partition(partition).write_planning_failed(str(error))
        raise


def _publish_what_is_left(loaded: Loaded, places: Places, manifest: Manifest) -> None:
    """Publish the challengers of a published night, if that was interrupted."""
    if loaded.pipeline.challengers:
        with suppress(NocturneError):  # the run may be gone
            state = places.state.partition(manifest.partition)
            publish_challengers(Run.at(state, manifest.run_key))


def _version_warning(loaded: Loaded, caller: Mapping[str, str]) -> str:
    """The warning that Airflow runs another version of Nocturne; "" if it runs this version.

    Raises:
        ConfigError: it runs another version, and schedule.on_skew is fail.
    """
    version = caller.get(AIRFLOW_CODE, code())
    if version == code():
        return ""
    difference = (
        f"Airflow has nocturne {version} (bundle {caller.get('bundle')!r} at "
        f"{caller.get('bundle_version') or 'no version'}), the jobs have {code()} in "
        f"{sys.executable}; install the same in both"
    )
    if loaded.pipeline.schedule.on_skew == "fail":
        raise ConfigError(f"{difference}, or set schedule.on_skew: warn. Nothing was done.")
    return f"\nWARNING: {difference}"


def _package_warning(run: Run | None) -> str:
    """The warning that the model was logged with other packages than are installed; else ""."""
    if run is None:
        return ""
    text = warning(
        run.plan.model.path, f"model {run.plan.model.name} version {run.plan.model.version}"
    )
    return f"\n{text}" if text else ""


def _planned(
    loaded: Loaded,
    partition: Partition,
    places: Places,
    options: _Options,
    resolve: Resolve,
    by: Executor | None,
) -> Prepared:
    """Resolve the model, look at the source, check, pin the settings, split, decide."""
    pipeline, output = loaded.pipeline, places.output(partition)
    suites = suites_of(loaded)
    current = _in_force(pipeline.name, output)
    if current is not None and not options.dry_run:
        current = adopt_if_same_rows(loaded, output, current)
    resolved = resolve()
    if options.champion is not None:
        loaded = only_its_casts(loaded, resolved.with_outputs(pipeline.model.outputs))
        pipeline = loaded.pipeline
    looked = look(loaded, partition, places, resolved, expected_columns(suites), by)
    seen, needs, encoding = looked.seen, looked.needs, looked.encoding
    if options.champion is not None:
        encoding = fitted_beside(options.champion, seen, encoding)
    check_sensitive(pipeline.quality.sensitive, encoding, seen)
    tables = measured_tables(suites, encoding, needs.columns, seen)
    refuse_early(loaded, suites, seen)
    costly = pipeline.model.calls == "costly"
    pinned = pin(
        pipeline.scoring, resolved.ref, encoding, places.state, looked.files, costly=costly
    )
    if options.champion is not None:
        pinned = replace(pinned, batch_rows=options.champion.plan.pinned.batch_rows)
    of_partition = columns_of_partition(
        output, (*pipeline.output.keys, *pipeline.output.passthrough)
    )
    keyed = KeyedPieces(loaded, resolved, encoding, pinned, seen, of_partition, options.champion)
    if options.requeue and current is not None:
        found = arms_in_force(Run.at(output.state, current.run_key), looked)
    else:
        found = arms_of(loaded, partition, places, looked, resolved.ref, pinned, by)
    asked = options.requeue, options.force
    chosen = choose(loaded, partition, output, current, keyed, found, *asked)
    if chosen is None:
        message = f"{pipeline.name} {partition.key}: no row of it is quarantined; nothing to do"
        return Prepared("nothing", message, None, current)
    profile_centers = centers(encoding, resolved.baseline)
    run_plan = RunPlan(
        pipeline=pipeline.name,
        partition=partition,
        run_key=plan.run_key(chosen.own.splits),
        content_key=chosen.own.standing.content_key,
        input_dir=str(seen.folder or places.input(partition)),
        input_version=seen.version,
        model=resolved.ref,
        encoding=encoding,
        pinned=pinned,
        keys=tuple(pipeline.output.keys),
        passthrough=tuple(pipeline.output.passthrough),
        files=seen.files,
        splits=chosen.own.splits,
        profile_centers=profile_centers,
        based_on=current.id if current else None,
        config_digest=digest(pipeline.model_dump(mode="json")),
        created=now(),
        query=seen.query,
        key_formats=pipeline.input.partition,
        cast=pipeline.input.cast,
        cast_text=pipeline.input.cast_text,
        checksums=pipeline.input.checksums,
        costly=costly,
        tables=tables,
        unique_keys=pipeline.quality.unique_keys,
        segments=segments(pipeline.drift, resolved.baseline, profile_centers),
        sensitive_columns=tuple(pipeline.quality.sensitive),
        hold=options.hold,
        caller=options.caller,
        page=options.page,
        asked_by=options.asked_by,
        output_version=plan.OUTPUT_VERSION,
        types=packed(seen.types) if len(seen.types) else "",
        path_keys=seen.path_keys,
        champion=plan.key_of(options.champion.plan.own_split_keys) if options.champion else "",
        challenged=bool(pipeline.challengers),
        **planned_output(pipeline.output, output, of_partition),
    )
    if run_plan.unique_keys:
        check_size(pipeline.name, run_plan.rows)
    run = Run.of(output.state, run_plan)
    return _decided(loaded, run, output, options, chosen, seen)


def tuning(loaded: Loaded, partition: Partition, *, again: bool = False) -> Tuning:
    """What is known of the kernels and micro-batches of the pipeline's model, on a partition.

    Args:
        again: search anew, and replace what an earlier search has found.

    Raises:
        NocturneError: the partition can't be scored.
        ConfigError: nothing is searched for.
    """
    places, resolved = Places.of(loaded), resolver(loaded)()
    ready(loaded, partition)
    looked = look(loaded, partition, places, resolved)
    return tune(loaded.pipeline, resolved.ref, looked.encoding, places.state, looked.files, again)


def _in_force(name: str, output: TablePartition) -> Manifest | None:
    """Raises: ConfigError if another pipeline has published there."""
    current = table.published_manifest(output)
    if current is not None and current.pipeline != name:
        raise ConfigError(
            f"{output.location} was published by the pipeline {current.pipeline!r}; two pipelines "
            f"can't share an output. Give {name!r} an output.path of its own"
        )
    return current


def _decided(
    loaded: Loaded,
    run: Run,
    output: TablePartition,
    options: _Options,
    chosen: Chosen,
    seen: Seen,
) -> Prepared:
    """Decide whether there is something to score; if there is, write the run's plan.

    Args:
        run: the champion's, without arms.
    """
    without, standing = run, chosen.standing
    if chosen.shared is not None:
        without = run.changed(beside=chosen.beside)
        run = Run.of(output.state, chosen.planned(run.plan))
    run_plan, current = run.plan, standing.current
    summary = (
        f"{run_plan.pipeline} {run_plan.partition.key}: {seen.size}, model {run_plan.model.name} "
        f"version {run_plan.model.version} ({run_plan.model.selector}), run key "
        f"{run_plan.run_key[:16]}"
    )
    if chosen.served is not None:
        summary += f"\n{chosen.served.name}: {chosen.served.told}"
    if standing.lost:
        summary += "; published files are missing or damaged, so it is scored again"
    requested = options.force or options.requeue
    if current is not None and standing.same and not standing.lost and not requested:
        if not options.dry_run:
            table.settle(output, loaded.pipeline.output.keep)
            note_shape(run)
            output.state.clear_status(current.run_key)
            if not loaded.pipeline.input.partition:  # each day has a run, which may be late
                write(output.state.confirmed_file, Confirmed(now()))
        message = f"{summary}: already published as manifest {current.id}; nothing to do"
        if problem := manifest_problem(loaded, output.state, current):
            message += f", but {problem}: score it again (--force)"
        return Prepared("nothing", message, run, current)
    published = {*run_plan.keys, *run_plan.passthrough}
    output.check(_schema(run_plan, seen), published - {*seen.path_keys})
    if not output.lake_types:  # a lake table has a schema of its own, and was asked
        outputs = run_plan.encoding.outputs
        summary += check_shape(loaded, run_plan.partition, outputs, current)
    if options.dry_run:
        replaced = f"would replace manifest {current.id}" if current else "would be published"
        return Prepared(
            "dry_run", f"{summary}: {replaced}; dry run, nothing was scored", run, current
        )
    reach("prepare.planned")
    if chosen.shared is not None:
        if current is None or current.run_key != without.plan.run_key:
            _write(loaded, without, output, current)
            if run.dropped() is None:
                forget(without.arms_file)
        if options.force:
            try_again(run)
    reused = _write(loaded, run, output, current)
    if chosen.shared is not None and not run.is_scored and run.dropped() is None:
        forget(run.dropped_file)  # that it was whole
    if chosen.shared is None and chosen.served is not None:
        write(run.arms_file, chosen.served)
    else:
        forget(run.arms_file)
    if reused:
        summary += f"; {reused} unchanged splits are taken over from manifest {run_plan.based_on}"
    with run.step("prepare"):
        return Prepared("score", summary, run, current)


def _write(loaded: Loaded, run: Run, output: TablePartition, current: Manifest | None) -> int:
    """Write the plan of a run; returns the number of splits that are taken over."""
    _drop_orphans(run)
    run.undecide()
    write_settings(run, loaded.pipeline)
    run.write_plan()
    # What is taken over from a manifest is signed with the new one, so it must have been signed.
    if current is None or manifest_problem(loaded, output.state, current):
        return 0
    return table.reuse(
        run, output, current, bound=loaded.pipeline.output.require_signature is not None
    )


def _schema(run_plan: RunPlan, seen: Seen) -> pa.Schema | None:
    """The schema of the scores, in which keys are never null; None if only Spark knows it."""
    if seen.schema is None:
        return None
    keys, columns = run_plan.keys, (*run_plan.keys, *run_plan.passthrough)
    schema = output_schema(run_plan.encoding, seen.schema, columns, run_plan.lake_types)
    never_null = {*keys, MODEL_VERSION}
    return pa.schema([f.with_nullable(f.name not in never_null) for f in schema])


def _drop_orphans(run: Run) -> None:
    """Drop results that are damaged, or whose attempt file is gone since the run was cleaned up.

    Also drop the results of splits without a score if the model may be the cause: what it lacked
    may be installed now.
    """
    for path in run.result_files():
        try:
            result = read(SplitResult, path)
        except StateError:
            log.warning("%s is damaged; its split is scored again", path)
        else:
            exists = run.attempt(result.file).is_file()
            if exists and (result.rows_out or not result.by_model):
                continue
        run.drop(path)
