"""Makes the answers that commands print for programs with ``--json``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from nocturne.config import Loaded, load
from nocturne.errors import NocturneError, StateError
from nocturne.operate.status import PartitionStatus, recent
from nocturne.pipeline.night import NightOutcome
from nocturne.pipeline.places import Places
from nocturne.pipeline.runs import as_planned, mlflow_page
from nocturne.records.answers import (
    GateAnswer,
    JudgeAnswer,
    NightAnswer,
    PartitionAnswer,
    PipelineAnswer,
    PublishAnswer,
    ScoresAnswer,
    TruthAnswer,
)
from nocturne.records.arms import Served
from nocturne.records.manifest import Judgement, Manifest
from nocturne.store.record_files import find
from nocturne.store.run import Run
from nocturne.store.run_folder import RunFolder
from nocturne.table import table_of

if TYPE_CHECKING:
    from nocturne.operate.challengers import Compared
    from nocturne.operate.truth.nights import NightTruth

__all__ = [
    "comparison_answer",
    "gate_answer",
    "judge_answer",
    "night_answer",
    "partition_answer",
    "pipeline_answer",
    "publish_answer",
    "scores_answer",
    "truth_answer",
]

_WORST = 3
"""The number of columns with the worst drift that a person is shown."""


def judge_answer(
    run: Run, judgement: Judgement, published: ScoresAnswer | None = None
) -> JudgeAnswer:
    """The answer about a judged run. ``published``: the scores, if this command published them."""
    arms = find(Served, run.arms_file)
    return JudgeAnswer(
        verdict=judgement.verdict,
        reasons=list(judgement.reasons),
        report=str(run.report),
        run_dir=run.uri,
        rows_in=judgement.rows_in,
        quarantined=judgement.quarantined,
        drift_paged=judgement.drift.paged,
        seconds=judgement.seconds,
        mlflow=mlflow_page(as_planned(run), judgement.mlflow_run_id),
        published=vars(published) if published else None,
        arms=f"{arms.name}: {arms.news}" if arms and arms.news else "",
    )


def truth_answer(loaded: Loaded, found: Sequence[NightTruth]) -> TruthAnswer:
    """The answer about nights by their labels."""
    from nocturne.operate.truth.log import untold

    return TruthAnswer(
        pipeline=loaded.pipeline.name,
        counted=[one.partition for one in found if one.new],
        problems={one.partition: one.problem for one in found if one.truth is None},
        alerts=untold(loaded, found),
        nights=[{"partition": one.partition, "truth": one.truth} for one in found if one.truth],
    )


def comparison_answer(found: Compared) -> dict[str, Any]:
    """The answer about a challenger: versions, nights, figures, by segment, and rows by name."""
    from nocturne.profile.comparing import figures

    champion, challenger = found.versions
    answer: dict[str, Any] = {
        "challenger": found.challenger,
        "champion_versions": champion,
        "challenger_versions": challenger,
        "nights": list(found.nights),
        "missing": found.missing,
    }
    if found.comparison is None:
        return answer
    rows = [[*pair.keys, pair.champion, pair.challenger] for pair in found.comparison.farthest]
    return answer | {
        "threshold": found.comparison.threshold,
        "top": found.comparison.top,
        **figures(found.comparison),
        "segments": {name: figures(part) for name, part in found.comparison.segments.items()},
        "farthest": rows,
    }


def gate_answer(run: Run, judgement: Judgement) -> GateAnswer:
    """The answer about a run on which a person may have to decide."""
    plan = run.plan
    shown = (c.column for c in judgement.drift.columns if c.column not in plan.sensitive)
    return GateAnswer(
        verdict=judgement.verdict,
        reasons=list(judgement.reasons),
        report=str(run.report),
        partition=plan.partition.key,
        model_version=plan.model.version,
        rows_in=judgement.rows_in,
        worst=list(shown)[:_WORST],
    )


def scores_answer(manifest: Manifest, loaded: Loaded) -> ScoresAnswer:
    """The answer about scores that are now in force."""
    state = Places.of(loaded).state.partition(manifest.partition)
    return ScoresAnswer(
        partition=manifest.partition.key,
        manifest=str(state.manifest_file(manifest.id)),
        mlflow=mlflow_page(loaded, _mlflow_run_id(state.run(manifest.run_key))),
        id=manifest.id,
        restores=manifest.restores,
        rows_published=manifest.rows_published,
        rows_quarantined=manifest.rows_quarantined,
        model_version=manifest.model.version,
        verdict=manifest.verdict,
    )


def _mlflow_run_id(run: RunFolder) -> str | None:
    """None if the judgement is damaged: the scores are in force, so the command has succeeded."""
    with suppress(StateError):
        return run.mlflow_run_id()
    return None


def publish_answer(run: Run, manifest: Manifest) -> PublishAnswer:
    """The answer about a published run."""
    scores = scores_answer(manifest, as_planned(run))
    return PublishAnswer(**vars(scores), output=str(table_of(run).location), run_dir=run.uri)


def partition_answer(status: PartitionStatus) -> PartitionAnswer:
    """The answer about the status of a partition."""
    manifest, run = status.manifest, status.unfinished
    return PartitionAnswer(
        partition=status.key,
        state=status.state,
        model_version=status.model_version,
        rows_in=manifest.rows_in if manifest else None,
        rows_published=manifest.rows_published if manifest else None,
        rows_quarantined=manifest.rows_quarantined if manifest else None,
        rows_per_second=status.rows_per_second,
        verdict=manifest.verdict if manifest else None,
        drift_verdict=manifest.verdict_of("drift") if manifest else None,
        reasons=list(status.reasons),
        input=str(status.input),
        output=str(status.location) if status.location else None,
        manifest=str(status.manifest_file) if status.manifest_file else None,
        report=str(status.report) if status.report else None,
        step=run.step if run else None,
        rows_done=run.rows_done if run else None,
        message=status.message,
        models=manifest.versions if manifest else "",
    )


def pipeline_answer(name: str) -> PipelineAnswer:
    """The answer about a pipeline; one that can't be read says so."""
    try:
        near = recent(load(name))
    except NocturneError as error:
        return PipelineAnswer(name, None, {}, 0, str(error))
    states = Counter(status.shown for status in near.statuses if status.state != "missing")
    return PipelineAnswer(
        pipeline=name,
        last=partition_answer(near.last) if near.last else None,
        states=dict(states),
        waiting=near.waiting,
        problem="",
    )


def night_answer(outcome: NightOutcome) -> NightAnswer:
    """The answer about the outcome of scoring a partition."""
    manifest = outcome.manifest
    return NightAnswer(
        partition=outcome.partition,
        outcome=outcome.outcome,
        message=outcome.message,
        manifest=outcome.manifest_path,
        output=outcome.output,
        rows_published=manifest.rows_published if manifest else None,
        rows_quarantined=manifest.rows_quarantined if manifest else None,
        model_version=manifest.model.version if manifest else None,
        verdict=manifest.verdict if manifest else None,
    )
