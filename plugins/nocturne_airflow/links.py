"""The links of a task in Airflow's UI: to the page Scoring, and to the results of the night."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink
from airflow.sdk.configuration import conf

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

__all__ = [
    "DATA_DOCS",
    "MANIFEST",
    "MLFLOW",
    "REPORT",
    "SCORING",
    "Link",
    "Linked",
    "base_url",
    "key_of",
    "night_page",
    "run_page",
    "truth_page",
]


def key_of(run: Any) -> str:
    """The partition key of a DAG run, or else the day in its parameters, or else ""."""
    return str(run.partition_key or (run.conf or {}).get("day") or "")


def night_page(dag_id: str, key: str) -> str:
    """The URL of the page Scoring for a partition."""
    return f"{base_url()}/nocturne/{quote(dag_id)}/{quote(key)}"


def truth_page(dag_id: str) -> str:
    """The URL of the page with the truth of a pipeline's nights."""
    return f"{base_url()}/nocturne/{quote(dag_id)}/truth"


def run_page(run: Any) -> str:
    """The URL of a DAG run."""
    return f"{base_url()}/dags/{quote(run.dag_id)}/runs/{quote(run.run_id)}"


def base_url() -> str:
    """The URL of Airflow's UI, without a slash at its end."""
    return str(conf.get("api", "base_url", fallback="")).rstrip("/")


class Link(BaseOperatorLink):  # type: ignore[misc,unused-ignore]
    """A link to the URL that the task stored under ``name`` while it ran."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    @property
    def xcom_key(self) -> str:
        return f"_link_{self._name}"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        links: Mapping[str, str] = getattr(operator, "links", {})
        return links.get(self._name, "")


SCORING, REPORT, DATA_DOCS, MLFLOW, MANIFEST = map(
    Link, ("Scoring", "Report", "Data Docs", "MLflow run", "Manifest")
)


class Linked:
    """An operator with links. ``links``: name of a link -> URL."""

    operator_extra_links: Sequence[Link] = (SCORING,)

    def link(
        self,
        context: Context,
        run_dir: str = "",
        manifest: str = "",
        mlflow: str | None = None,
    ) -> None:
        """Set the URLs of the links of this run.

        Args:
            run_dir: the run directory, once the run is judged.
            manifest: the id of the manifest, once the run is published.
            mlflow: the URL of its MLflow run.
        """
        run = context["dag_run"]
        key = key_of(run)
        if not key:
            return
        night = night_page(run.dag_id, key)
        self.links = {SCORING.name: night}
        if run_dir:
            folder = f"{night}/{Path(run_dir).name}"
            self.links[REPORT.name] = f"{folder}/report.html"
            self.links[DATA_DOCS.name] = f"{folder}/data_docs/index.html"
        if manifest:
            self.links[MANIFEST.name] = f"{night}/manifests/{manifest}.json"
        if mlflow:
            self.links[MLFLOW.name] = mlflow
