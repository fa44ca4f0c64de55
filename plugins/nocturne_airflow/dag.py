"""Builds the DAG of a pipeline from its configuration."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from pathlib import Path

from airflow.sdk import DAG, Asset
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert

from nocturne.config import Loaded
from nocturne_airflow.alerts import Alerts, check_providers, late
from nocturne_airflow.gate import GateOperator
from nocturne_airflow.operators import (
    JudgeOperator,
    PrepareOperator,
    PublishOperator,
    ScoreOperator,
)
from nocturne_airflow.request import params
from nocturne_airflow.sensor import ReadySensor
from nocturne_airflow.slo import Due, in_words
from nocturne_airflow.timing import bounds, timetable

__all__ = ["scoring_dag"]


def scoring_dag(loaded: Loaded, code: Path) -> DAG:
    """The DAG: wait >> prepare >> score >> judge >> gate >> publish.

    Args:
        loaded: the pipeline, with the project's root as its home.
        code: the folder with ``jobs/score.py``.

    Raises:
        ConfigError: an alert needs a provider that is not installed.
    """
    check_providers(loaded)
    pipeline, home = loaded.pipeline, str(loaded.home)
    key_formats, schedule = pipeline.input.partition, pipeline.schedule
    connection = schedule.connection
    start, end = bounds(schedule, key_formats)
    scores = Asset(name=f"scores/{pipeline.name}")
    owner, alerts = pipeline.owner, Alerts.of(loaded)
    with DAG(
        dag_id=pipeline.name,
        description=pipeline.description,
        doc_md=_documentation(loaded),
        schedule=timetable(schedule, key_formats),
        start_date=start,
        end_date=end,
        catchup=False,
        max_active_runs=schedule.max_active_runs,
        tags=sorted({"nocturne", *pipeline.tags}),
        params=params(key_formats),
        deadline=_deadline(loaded),
        on_failure_callback=partial(alerts.failed, home),
        default_args={
            **({"owner": owner} if owner else {}),
            "priority_weight": schedule.priority,
            "weight_rule": "absolute",
            "retries": schedule.retries,
            "retry_delay": timedelta(seconds=30),
            "retry_exponential_backoff": 2.0,
            "max_retry_delay": timedelta(minutes=30),
        },
    ) as dag:
        wait = ReadySensor(
            task_id="wait",
            pipeline=pipeline.name,
            key_formats=key_formats,
            home=home,
            connection=connection,
            skip_missing=pipeline.input.on_missing == "skip",
            timeout=timedelta(minutes=pipeline.input.ready.timeout_minutes),
            doc_md="Checks the run's parameters; waits until the partition is complete.",
        )
        prepare = PrepareOperator(
            task_id="prepare",
            pipeline=pipeline.name,
            key_formats=key_formats,
            asset=scores,
            home=home,
            connection=connection,
            doc_md="Pins the model version and plans the splits.",
        )
        score = ScoreOperator(
            task_id="score",
            application=str(code / "jobs" / "score.py"),
            name=f"nocturne-{pipeline.name}",
            conf=pipeline.spark_conf,
            lean=pipeline.scoring.reader != "spark",
            pool=schedule.pool,
            home=home,
            connection=connection,
            doc_md="Scores the splits with Spark, into the run's staging folder.",
        )
        judge = JudgeOperator(
            task_id="judge",
            alerts=alerts,
            home=home,
            connection=connection,
            doc_md="Checks quality and drift; writes the report and the verdict.",
        )
        gate = GateOperator(
            task_id="gate",
            pipeline=pipeline.name,
            alerts=alerts,
            home=home,
            connection=connection,
            deadline=timedelta(hours=pipeline.gate.deadline_hours),
            doc_md="Stops a failed night; asks a person about a held one.",
        )
        publish = PublishOperator(
            task_id="publish",
            asset=scores,
            home=home,
            connection=connection,
            doc_md="Exchanges the published partition for the new scores, all at once.",
        )
        wait >> prepare >> score >> judge >> gate >> publish
    return dag


def _deadline(loaded: Loaded) -> list[DeadlineAlert]:
    """Airflow's alert for a scheduled night that is late, if the pipeline has an ``slo``."""
    pipeline = loaded.pipeline
    slo, zone = pipeline.slo, pipeline.schedule.timezone
    if slo.by is None and slo.within_minutes is None:
        return []
    notified = {
        "pipeline": pipeline.name,
        "home": str(loaded.home),
        "due": in_words(slo, zone),
        "rules": [rule.model_dump(mode="json") for rule in pipeline.alerts],
        "owner": pipeline.owner,
        "docs": pipeline.docs,
    }
    return [
        DeadlineAlert(
            name="published",
            reference=Due(slo.by, slo.within_minutes, zone),
            interval=timedelta(0),
            callback=AsyncCallback(late, notified),
        )
    ]


def _documentation(loaded: Loaded) -> str:
    pipeline = loaded.pipeline
    model = pipeline.model
    selector = (
        f"alias `{model.alias}`"
        if model.alias
        else f"version {model.version}"
        if model.version
        else "tags " + ", ".join(f"`{k}={v}`" for k, v in (model.tags or {}).items())
    )
    owner = f"| Owner | {pipeline.owner} |\n" if pipeline.owner else ""
    if pipeline.docs:
        owner += f"\n[What to do when it fails]({pipeline.docs})\n"
    return f"""\
{pipeline.description}

|  |  |
|--|--|
| Model | `{model.name}`, {selector} |
| Input | `{pipeline.input.path}` |
| Scores | `{pipeline.output.path}` |
| Configuration | `conf/pipelines/{pipeline.name}.yaml` |
{owner}
**One partition again:** *Trigger*, fill in the day. Scores that are already published from the
same model and data are left untouched.

**Many partitions:** `airflow backfill create --dag-id {pipeline.name} --from-date FROM --to-date
TO`

**A held night** waits {pipeline.gate.deadline_hours:g} hours for somebody to answer *Required
actions* at the task `gate`; then it is rejected. In a backfill it fails there, and somebody decides
on it later: see *Browse, Scoring*.
"""
