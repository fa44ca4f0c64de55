"""The tasks of a scoring DAG: each runs one step of the ``nocturne`` command line.

The exit code of a step says whether a retry can help. Tasks pass only the path of the run directory
to each other.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import Asset, AssetAlias, BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, DownstreamTasksSkipped

from nocturne.errors import ConfigError, NocturneError, StateError
from nocturne.host.identity import AIRFLOW_CODE, AIRFLOW_PAGE, ASKED_BY, code
from nocturne.host.machine import is_local, local_environment
from nocturne.host.trouble import explain
from nocturne.objects import location
from nocturne.records.answers import (
    JudgeAnswer,
    PrepareAnswer,
    PublishAnswer,
    ScoresAnswer,
    read_answer,
)
from nocturne.records.findings import Verdict
from nocturne_airflow.alerts import Alerts
from nocturne_airflow.command import Commanding, Outcome, interpreter
from nocturne_airflow.credentials import lent
from nocturne_airflow.lineage import Traced
from nocturne_airflow.links import (
    DATA_DOCS,
    MANIFEST,
    MLFLOW,
    REPORT,
    SCORING,
    Linked,
    key_of,
    night_page,
)
from nocturne_airflow.metrics import emit
from nocturne_airflow.request import ALL_TASKS, Request, read

if TYPE_CHECKING:
    from airflow.sdk import Context

    from nocturne.spark.submit import QuickStart
    from nocturne.store.run_folder import RunFolder

__all__ = [
    "RUN_DIR",
    "JudgeOperator",
    "PrepareOperator",
    "PublishOperator",
    "ScoreOperator",
    "StepOperator",
    "check",
    "request",
    "typed_answer",
]

T = TypeVar("T")

RUN_DIR = "{{ ti.xcom_pull(task_ids='prepare') or '' }}"
"""The run directory that ``prepare`` returned, as a template."""

_PUBLISHING = ("approve", "rollback", "adopt", "accept")
"""The decisions whose answers are the scores in force."""
HELD = 3
_TERMINAL = {1, 2, HELD}  # 2 is a wrong command line, which a retry can't correct
_NO_MESSAGE = "it wrote no message; see the log above"


def request(context: Context, key_formats: Mapping[str, str]) -> Request:
    """The checked request of this DAG run.

    Raises:
        AirflowFailException: the request is wrong; Airflow does not retry.
    """
    run = context["dag_run"]
    try:
        return read(key_formats, run.partition_key, context["params"], run.conf)
    except ConfigError as error:
        raise AirflowFailException(str(error)) from None


def check(step: str, outcome: Outcome) -> dict[str, Any]:
    """The step's answer, or its failure as one of Airflow's exceptions.

    Raises:
        AirflowFailException: a person must act; Airflow does not retry.
        AirflowException: a retry can help (exit code 75, or the process was killed).
    """
    if outcome.code == 0:
        return outcome.output
    message = outcome.message or _NO_MESSAGE
    if outcome.code in _TERMINAL:
        raise AirflowFailException(f"{step}: {message}")
    raise AirflowException(f"{step} ended with code {outcome.code}: {message}")


def typed_answer(step: str, kind: type[T], output: Mapping[str, Any]) -> T:
    """The answer of a step as a dataclass.

    Raises:
        AirflowFailException: another version of Nocturne answered.
    """
    try:
        return read_answer(kind, output)
    except StateError as error:
        raise AirflowFailException(f"{step}: {error}") from None


class StepOperator(Linked, Commanding, BaseOperator):  # type: ignore[misc,unused-ignore]
    """A step that works on the run directory: ``nocturne <step> RUN_DIR``."""

    template_fields: Sequence[str] = ("run_dir",)
    ui_color = "#e4ecf7"

    def __init__(
        self,
        *,
        step: str,
        home: str,
        connection: str | None = None,
        options: Sequence[str] = (),
        run_dir: str = RUN_DIR,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.step = step
        self.home = home
        self.connection = connection
        self.options = list(options)
        self.run_dir = run_dir

    def execute(self, context: Context) -> Any:
        self.link(context)
        output = self.call(self.step, need_run_dir(self.run_dir), *self.options)
        folder = output.get("run_dir") or self.run_dir  # another one, if a canary was dropped
        self.link(context, folder, output.get("id", ""), output.get("mlflow"))
        return output

    def call(self, *arguments: str) -> dict[str, Any]:
        """Run ``nocturne ARGUMENTS`` and return its answer."""
        return check(self.step, self.command(*arguments))


class PrepareOperator(Traced, StepOperator):
    """Resolves and plans, and returns the run directory; or carries out a decision.

    If there is nothing to score (already published, a dry run, a missing partition that may be
    missing), the tasks after it are skipped and the DAG run succeeds.
    """

    def __init__(
        self, *, pipeline: str, key_formats: Mapping[str, str], asset: Asset, **kwargs: Any
    ) -> None:
        # An alias, since most runs publish later and emit nothing here.
        self.asset, self.decided = asset, AssetAlias(f"{asset.name} by decision")
        super().__init__(step="prepare", run_dir="", outlets=[self.decided], **kwargs)
        self.pipeline = pipeline
        self.key_formats = dict(key_formats)

    def execute(self, context: Context) -> str:
        self.link(context)
        requested = request(context, self.key_formats)
        if requested.action not in ALL_TASKS:
            self._decide(requested, context)
            raise _skipping(context)
        caller = json.dumps(_versions(context))
        backfill = ["--backfill"] if context["dag_run"].run_type == "backfill" else []
        arguments = [*requested.arguments(), *backfill]
        output = self.call("prepare", self.pipeline, *arguments, "--caller", caller, "--json")
        answer = typed_answer("prepare", PrepareAnswer, output)
        if answer.action == "score" and answer.run_dir:
            return answer.run_dir
        if answer.action not in ("nothing", "skip", "dry_run"):
            raise AirflowFailException(
                f"prepare answered {output!r}; expected an action: score with a run_dir, "
                "nothing, skip or dry_run. Is the nocturne of NOCTURNE_PYTHON the same version?"
            )
        self.log.info("Nothing to score (%s): %s", answer.action, answer.message)
        raise _skipping(context)

    def _decide(self, requested: Request, context: Context) -> None:
        """Carry out what a person wants; emits an event of the asset if other scores are in force.

        Raises:
            AirflowFailException: a night that was judged again is still held, or failed.
        """
        action, by = requested.action, context["dag_run"].triggering_user_name or "airflow"
        output = self.call(*requested.decision(self.pipeline, by))
        published: Mapping[str, Any] | None = output if action in _PUBLISHING else None
        if action == "judge":
            judged = typed_answer(action, JudgeAnswer, output)
            published = judged.published
            if published is None and not Verdict(judged.verdict).publishes:
                raise AirflowFailException(
                    f"judged again, the verdict is {judged.verdict}: {'; '.join(judged.reasons)}"
                )
        if published is not None:
            scores = typed_answer(action, ScoresAnswer, published)
            self.manifest = scores.manifest
            context["outlet_events"][self.decided].add(self.asset, extra=vars(scores))


def _versions(context: Context) -> dict[str, str]:
    """The versions of Airflow's side, who triggered the run, and the URL of the night's page."""
    bundle = getattr(context["ti"], "bundle_instance", None)
    run = context["dag_run"]
    key, user = key_of(run), run.triggering_user_name
    return {
        "airflow": version("apache-airflow"),
        AIRFLOW_CODE: code(),
        "bundle": str(getattr(bundle, "name", "")),
        "bundle_version": str(getattr(bundle, "version", "") or ""),
        **({ASKED_BY: user} if user else {}),
        **({AIRFLOW_PAGE: night_page(run.dag_id, key)} if key else {}),
    }


def _skipping(context: Context) -> DownstreamTasksSkipped:
    """An exception that ends the task with success and skips all tasks after it."""
    after = sorted(context["ti"].task.get_flat_relative_ids(upstream=False))
    return DownstreamTasksSkipped(tasks=after)  # type: ignore[no-untyped-call,unused-ignore]


class JudgeOperator(StepOperator):
    """Checks quality and drift; stores links to the results, and emits their figures as metrics.

    If drift pages and the night goes on, this sends the alert; if the night is held, the gate does.
    It also sends that of a canary, or a split, that is out of the night or of later ones.
    """

    operator_extra_links = (REPORT, DATA_DOCS, MLFLOW, SCORING)

    def __init__(self, *, alerts: Alerts, **kwargs: Any) -> None:
        super().__init__(step="judge", options=["--json"], **kwargs)
        self.alerts = alerts

    def execute(self, context: Context) -> None:
        judged = typed_answer("judge", JudgeAnswer, super().execute(context))
        emit(context["dag_run"].dag_id, judged)
        if judged.drift_paged and judged.verdict == Verdict.WARN:
            self.alerts.tell("drift", context, "\n".join(judged.reasons), self.links)
        if judged.arms:
            self.alerts.tell("canary", context, judged.arms, self.links)


class PublishOperator(Traced, StepOperator):
    """Publishes, and emits an event of ``asset``.

    The event's ``extra`` has partition, manifest (its file), id, rows_published, rows_quarantined,
    model_version and verdict. The event has the partition's key even if the run has none.
    """

    operator_extra_links = (MANIFEST, REPORT, DATA_DOCS, MLFLOW, SCORING)

    def __init__(self, *, asset: Asset, **kwargs: Any) -> None:
        super().__init__(step="publish", options=["--json"], outlets=[asset], **kwargs)
        self.asset = asset

    def execute(self, context: Context) -> None:
        published = typed_answer("publish", PublishAnswer, super().execute(context))
        self.manifest = published.manifest
        event = context["outlet_events"][self.asset]
        # Where the scores and the run are is in the manifest.
        hidden = ("output", "run_dir")
        event.extra = {n: value for n, value in vars(published).items() if n not in hidden}
        event.add_partitions(published.partition)


class ScoreOperator(Linked, SparkSubmitOperator):  # type: ignore[misc,unused-ignore]
    """Scores the run with Spark. Scored splits are skipped, so a retry continues.

    spark-submit exits with 1 for our errors and for Spark's own; a file in the run directory says
    which it was.
    """

    ui_color = "#f7ece4"

    def __init__(
        self,
        *,
        home: str,
        connection: str | None = None,
        run_dir: str = RUN_DIR,
        lean: bool = False,
        **kwargs: Any,
    ) -> None:
        """Args: lean: no rows go through the JVM, so a small one that starts fast will do."""
        super().__init__(application_args=[run_dir], **kwargs)
        self.home = home
        self.connection = connection
        self.lean = lean

    def execute(self, context: Context) -> None:
        self.link(context)
        need_run_dir((self.application_args or [""])[0])
        python = interpreter()
        # Without secrets: on YARN and Kubernetes these variables become arguments.
        # Workers of a cluster may have another interpreter than the driver: PYSPARK_PYTHON wins.
        self.env_vars = {
            "NOCTURNE_HOME": self.home,
            "PYSPARK_DRIVER_PYTHON": python,
            "PYSPARK_PYTHON": os.environ.get("PYSPARK_PYTHON") or python,
        }
        spark_conf, start = Path(self.home) / "conf" / "spark", None
        if is_local(self._get_hook()._connection["master"]):
            self.env_vars |= local_environment(os.environ, python)
            start = self._quick_start(python, spark_conf)
        if start is not None:
            self.conf, self.env_vars = start.conf, self.env_vars | start.environment
        elif spark_conf.is_dir() and "SPARK_CONF_DIR" not in os.environ:
            self.env_vars["SPARK_CONF_DIR"] = str(spark_conf)
        with lent(self.connection):  # not env_vars, for the reason above
            self._run.forget_error()
            try:
                super().execute(context)
            except AirflowException as failure:
                if start is not None:
                    wrote = self._run.error_file.is_file()
                    start.failed(started=wrote or "SparkUserAppException" in str(failure))
                raise self._explained(failure) from None
        if start is not None:
            start.done()

    def _quick_start(self, python: str, spark_conf: Path) -> QuickStart | None:
        """How the JVM starts fast; None if another interpreter's Spark is submitted to."""
        if python != sys.executable or "SPARK_HOME" in self.env_vars | dict(os.environ):
            return None
        try:
            from nocturne.spark.submit import QuickStart

            return QuickStart(self.conf or {}, spark_conf, lean=self.lean)
        except (ImportError, OSError) as error:
            self.log.info("Spark's JVM starts as it is: %s", error)
            return None

    @property
    def _run(self) -> RunFolder:
        from nocturne.store.run_folder import RunFolder  # with Arrow: not for parsing DAGs

        return RunFolder(location((self.application_args or [""])[0]))

    def _explained(self, failure: AirflowException) -> AirflowException:
        """The job's own error, terminal or not, in place of "spark-submit failed"."""
        error_file = self._run.error_file
        try:
            error = dict(json.loads(error_file.read_bytes()))
        except (NocturneError, OSError, ValueError, TypeError, RecursionError):
            return self._unstarted(failure)
        if error.get("type") == "InputChanged":  # a retry with the same plan fails again
            return AirflowFailException(
                f"score: {error.get('message')}. Clear `prepare` with its downstream tasks."
            )
        kind = AirflowFailException if error.get("terminal") else AirflowException
        return kind(f"score: {error.get('message')}")

    def _unstarted(self, failure: AirflowException) -> AirflowException:
        """The failure of spark-submit if the job itself wrote no error."""
        trouble = explain(str(failure))
        if "SparkUserAppException" in str(failure) or not trouble.terminal:
            return failure  # the job had started, or may start in a retry
        error = trouble.error("Spark can't start")
        return AirflowFailException(f"score: {error}\n\n{failure}")


def need_run_dir(run_dir: str) -> str:
    """The run directory's path.

    Raises:
        AirflowFailException: ``prepare`` returned none.
    """
    if not run_dir:
        raise AirflowFailException(
            "no run directory: `prepare` had nothing to score or was not run. Clear `prepare` "
            "with its downstream tasks instead of this task alone."
        )
    return run_dir
