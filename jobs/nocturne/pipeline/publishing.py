"""Gate and publish: the verdict decides, then the staged files become the partition."""

from __future__ import annotations

import platform
import shutil
import time
from pathlib import Path

from nocturne import publish, report
from nocturne.errors import Held, InputError, ModelError
from nocturne.host.identity import code
from nocturne.model.encoding import Encoding
from nocturne.pipeline.faults import model_at_fault
from nocturne.pipeline.monitoring import monitor
from nocturne.pipeline.runs import as_planned, current, in_force, pipeline_of, results_of, step
from nocturne.records import STATE_FORMAT, Decision, Judgement, Manifest, Run
from nocturne.store import state
from nocturne.store.files import digest
from nocturne.store.record_files import find, read, write
from nocturne.store.rundir import approval_path, judgement_path, rejection_path

__all__ = ["approve", "environment", "gate", "publish_run", "reject"]


def gate(run: Run) -> Judgement:
    """The run's judgement, if it may be published.

    Raises:
        Held: a person must decide first.
        InputError: the verdict is fail.
        Superseded: something newer has been published.
    """
    now = current(run)
    if now is None or now.run_key != run.run_key:
        publish.check_base(run, now)
    judgement = read(Judgement, judgement_path(run))
    if (said := find(Decision, rejection_path(run))) is not None:
        raise InputError(
            f"{run.pipeline} {run.partition.key} was rejected by {said.by} at {said.at}"
            f"{': ' + said.why if said.why else ''}. Nothing was published; to judge it "
            f"anew: nocturne score {run.pipeline} --date {run.partition.key}"
        )
    why = "; ".join(judgement.reasons)
    where = f"Report: {judgement.report}"
    if judgement.verdict == "fail":
        raise InputError(f"{run.pipeline} {run.partition.key} failed its checks: {why}. {where}")
    if judgement.verdict == "hold" and find(Decision, approval_path(run)) is None:
        raise Held(
            f"{run.pipeline} {run.partition.key} is held, nothing was published: {why}. {where}. "
            f"To publish it all the same: nocturne approve {run.pipeline} --date "
            f"{run.partition.key}",
            run_dir=run.run_dir,
        )
    return judgement


def approve(run: Run, by: str) -> None:
    """Lets a held run pass the gate; who and when goes into the manifest.

    Raises:
        ModelError: it has no score at all, as its model is at fault.
    """
    if fault := model_at_fault(results_of(run)):
        raise ModelError(f"{run.pipeline} {run.partition.key} can't be approved: {fault}")
    write(approval_path(run), Decision(by, state.now()))


def reject(run: Run, by: str, why: str) -> None:
    """Keeps a held run from being published, until it is judged anew."""
    write(rejection_path(run), Decision(by, state.now(), why))


def publish_run(run: Run) -> Manifest:
    """Pass the gate and publish; a run that is published already is left as it is.

    Raises:
        Held, Superseded, PublishError, StateError: nothing was changed.
    """
    published = in_force(run)
    keep = pipeline_of(run).output.keep
    if published is not None:
        publish.settle(Path(run.state_dir), Path(run.output_dir), keep)
        _tidy(run)
        monitor(as_planned(run), published)
        return published
    with step("publish", run):
        judgement = gate(run)
        results = results_of(run)
        started = time.perf_counter()
        outputs_named = [output.name for output in Encoding.of(run.encoding).outputs]
        try:
            outputs, quarantine = publish.staged(run, results)
        except FileNotFoundError:
            if in_force(run) is None:
                raise
            return publish_run(run)  # another process has published this very run, and tidied up
        approval = find(Decision, approval_path(run))

        def manifest(number: int, replaces: str | None) -> Manifest:
            return Manifest(
                format=STATE_FORMAT,
                id=publish.manifest_id(number, run.run_key),
                number=number,
                pipeline=run.pipeline,
                partition=run.partition,
                run_key=run.run_key,
                content_key=run.content_key,
                replaces=replaces,
                published=state.now(),
                model=run.model,
                encoding_sha256=digest(run.encoding),
                pinned=run.pinned,
                config_digest=run.config_digest,
                environment=environment() | run.caller,
                input_dir=run.input_dir,
                inputs=run.files,
                outputs=tuple(outputs),
                quarantine=tuple(quarantine),
                rows_in=judgement.rows_in,
                rows_published=judgement.rows_out,
                rows_quarantined=judgement.quarantined,
                verdict=judgement.verdict,
                reasons=judgement.reasons,
                quality_verdict=judgement.quality_verdict,
                drift_verdict=judgement.drift_verdict,
                drift=judgement.drift.columns,
                drift_history=judgement.drift.history,
                drift_baseline=judgement.drift.baseline,
                drift_paged=judgement.drift.paged,
                drift_segments={
                    segment.name: {column.column: column.psi for column in segment.columns}
                    for segment in judgement.drift.segments
                },
                drift_segments_alarmed={
                    segment.name: drifted
                    for segment in judgement.drift.segments
                    if (drifted := tuple(c.column for c in segment.columns if c.alarmed))
                },
                score_summary=report.score_summary(judgement.profile, outputs_named),
                report=judgement.report,
                mlflow_run_id=judgement.mlflow_run_id,
                approved_by=approval.by if approval else None,
                seconds={**judgement.seconds, "publish": round(time.perf_counter() - started, 3)},
                precision_error=next((r.precision_error for r in results if r.precision_error), {}),
                output_version=run.output_version,
            )

        done = publish.commit(run, results, manifest, keep)
    _tidy(run)
    monitor(as_planned(run), done)
    return done


def _tidy(run: Run) -> None:
    state.clear(run.state_dir, run.run_key)
    for name in ("attempts", "progress"):
        shutil.rmtree(Path(run.run_dir) / name, ignore_errors=True)


def environment() -> dict[str, str]:
    """Versions and machine that decide bits, or help to find out why they differ."""
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
