"""Gate and publish: if the verdict allows it, the staged files become the partition."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from nocturne import report, table
from nocturne.errors import (
    Held,
    InputError,
    ModelError,
    NocturneError,
    StateError,
    Superseded,
)
from nocturne.host.identity import code
from nocturne.pipeline.challengers import publish_challengers
from nocturne.pipeline.faults import model_at_fault
from nocturne.pipeline.monitoring import monitor
from nocturne.pipeline.required import require_as_of_now
from nocturne.pipeline.runs import as_planned, manifest_in_force
from nocturne.pipeline.shape import check_shape, note_shape
from nocturne.pipeline.tagging import decision_on, tag_decision
from nocturne.records.arms import Served
from nocturne.records.findings import Verdict
from nocturne.records.manifest import Decision, Judgement, Manifest
from nocturne.records.result import SplitResult
from nocturne.store.files import file_digest
from nocturne.store.partition_state import manifest_id, now
from nocturne.store.record_files import find, read, write
from nocturne.store.run import Run
from nocturne.table_formats.protocol import TablePartition

__all__ = ["approve", "environment", "gate", "publish_run", "reject"]


def gate(run: Run) -> Judgement:
    """The run's judgement, if it may be published.

    Raises:
        Held: a person must decide first.
        InputError: the verdict is fail.
        ConfigError: nights with other predictions were published meanwhile.
        Superseded: something newer has been published.
    """
    current = table.published_manifest(table.table_of(run))
    if current is None or current.run_key != run.plan.run_key:
        table.check_base(run, current)
        if not run.plan.lake_types:  # a lake table has a schema of its own
            outputs = run.plan.encoding.outputs
            check_shape(as_planned(run), run.plan.partition, outputs, current)
    return _passed(run, run.judgement())


def _passed(run: Run, judgement: Judgement) -> Judgement:
    """The judgement, if its verdict or a person lets it pass. Raises: as ``gate``."""
    name, key = run.plan.pipeline, run.plan.partition.key
    if (rejection := run.rejection()) is not None:
        raise InputError(
            f"{name} {key} was rejected by {rejection.by} at {rejection.at}"
            f"{': ' + rejection.why if rejection.why else ''}. Nothing was published; to judge it "
            f"anew: nocturne score {name} --date {key}"
        )
    why = "; ".join(judgement.reasons)
    where = f"Report: {run.report}"
    if judgement.verdict == Verdict.FAIL:
        raise InputError(f"{name} {key} failed its checks: {why}. {where}")
    if judgement.verdict == Verdict.HOLD and run.approval() is None:
        raise Held(
            f"{name} {key} is held, nothing was published: {why}. {where}. To publish it all the "
            f"same: nocturne approve {name} --date {key} --run {run.name}",
            run_dir=str(run.path),
        )
    return judgement


def approve(run: Run, by: str) -> None:
    """Let a held run pass the gate; the manifest records who approved it, and when.

    What would stop it all the same is said before anything is written, so that it stays held.

    Raises:
        ModelError: it has no score at all, since its model is at fault.
        InputError: its verdict is fail, or it was rejected.
        StateError: its judgement can't be read.
        Superseded: something newer has been published, or the scores of a later run are held.
    """
    if fault := model_at_fault(run.results()):
        raise ModelError(f"{run.plan.pipeline} {run.plan.partition.key} can't be approved: {fault}")
    _check_last(run)
    with suppress(Held):
        gate(run)
    write(run.approval_file, Decision(by, now()))
    tag_decision(as_planned(run), run.plan, decision_on(run))


def _check_last(run: Run) -> None:
    """Raises: Superseded if the scores of another run are held."""
    status, plan = run.state.status(), run.plan
    if status is not None and status.state == "held" and status.run_key != plan.run_key:
        raise Superseded(
            f"{plan.pipeline} {plan.partition.key} was scored again since: held are the scores of "
            f"the run {run.state.run(status.run_key).name}, not of {run.name}. Nothing was "
            "decided. Look at them, then decide",
            held=status.run_key,
        )


def reject(run: Run, by: str, why: str, unanswered: bool = False) -> None:
    """Keep a held run from being published, until it is judged again."""
    write(run.rejection_file, Decision(by, now(), why, unanswered))


def publish_run(run: Run) -> Manifest:
    """Pass the gate and publish; a run that is already published stays as it is.

    Raises:
        Held, Superseded, PublishError, StateError, ConfigError, ModelError: nothing was changed.
    """
    loaded, output = as_planned(run), table.table_of(run)
    keep = loaded.pipeline.output.keep
    done = manifest_in_force(run)
    if done is not None:
        table.settle(output, keep)
    else:
        with run.step("publish"):
            gate(run)
            require_as_of_now(run)
            try:
                done = _commit(run, output, keep)
            except (FileNotFoundError, StateError, Superseded):
                # Another process may have published this run, and removed its working files.
                with suppress(NocturneError):
                    done = manifest_in_force(run)
                if done is None:
                    raise
    note_shape(run)
    run.state.clear_status(run.plan.run_key)
    run.tidy()
    monitor(loaded, done, decision_on(run))
    publish_challengers(run)
    return done


def _commit(run: Run, output: TablePartition, keep: int) -> Manifest:
    started = time.perf_counter()
    results, plan = run.results(), run.plan
    outputs, quarantine = table.staged(run, results)

    def manifest(number: int, replaces: str | None) -> Manifest:
        # Under the lock, they stay so. In a store, the copy that is referred to does.
        stored = run.state.reference(run.judgement_file)
        judgement = _passed(run, read(Judgement, run.state.stored(stored)))
        approval = run.approval()
        return Manifest(
            id=manifest_id(number, plan.run_key),
            number=number,
            pipeline=plan.pipeline,
            partition=plan.partition,
            run_key=plan.run_key,
            content_key=plan.content_key,
            replaces=replaces,
            published=now(),
            approved_by=approval.by if approval else None,
            model=replace(plan.model, path=""),
            environment=environment() | plan.caller,
            run=run.state.reference(run.plan_file),
            judgement=stored,
            outputs=tuple(outputs),
            quarantine=tuple(quarantine),
            input_version=plan.input_version,
            arms=find(Served, run.arms_file),
            rows_in=judgement.rows_in,
            rows_published=judgement.rows_out,
            rows_quarantined=judgement.quarantined,
            verdict=judgement.verdict,
            findings=judgement.findings,
            score_summary=report.score_summary(run.profile, report.output_names(plan)),
            seconds=judgement.seconds | {"publish": round(time.perf_counter() - started, 3)},
            precision_error=_precision_error(results),
            output_version=plan.output_version,
            profile_sha256=file_digest(run.profile_file),
        )

    return table.commit(run, output, results, manifest, keep)


def _precision_error(results: Sequence[SplitResult]) -> dict[str, float]:
    """The precision error of the run; only its first split measures it."""
    return next((r.precision_error for r in results if r.precision_error), {})


def environment() -> dict[str, str]:
    """The versions and the machine that decide bits, or help to explain why bits differ."""
    from importlib.metadata import version

    packages = ("torch", "pyarrow", "numpy", "pyspark", "mlflow", "great-expectations")
    return {
        "nocturne": code(),
        **{name: version(name) for name in packages},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpu": _cpu(),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), "")
