"""The buttons at a task in Airflow's UI: to the page Scoring, and to what the night has left."""

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
    "key_of",
    "night_page",
    "run_page",
]


def key_of(run: Any) -> str:
    """The partition key of a DAG run, also where only its parameters name it; else ""."""
    return str(run.partition_key or (run.conf or {}).get("day") or "")


def night_page(dag_id: str, key: str) -> str:
    """Address of the page Scoring for a partition."""
    return f"{_base()}/nocturne/{quote(dag_id)}/{quote(key)}"


def run_page(run: Any) -> str:
    """Address of a DAG run."""
    return f"{_base()}/dags/{quote(run.dag_id)}/runs/{quote(run.run_id)}"


def _base() -> str:
    return str(conf.get("api", "base_url", fallback="")).rstrip("/")


class Link(BaseOperatorLink):  # type: ignore[misc,unused-ignore]
    """Leads where the task said, while it ran, that its ``name`` leads."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    @property
    def xcom_key(self) -> str:
        return f"_link_{self._name}"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        found: Mapping[str, str] = getattr(operator, "links", {})
        return found.get(self._name, "")


SCORING, REPORT, DATA_DOCS, MLFLOW, MANIFEST = map(
    Link, ("Scoring", "Report", "Data Docs", "MLflow run", "Manifest")
)


class Linked:
    """An operator with links; ``operator_extra_links`` names them, ``links`` where they lead."""

    operator_extra_links: Sequence[Link] = (SCORING,)

    def link(
        self,
        context: Context,
        run_dir: str = "",
        manifest: str = "",
        mlflow: str | None = None,
    ) -> None:
        """Remember where the links of this run lead.

        Args:
            run_dir: of the run, once it is judged.
            manifest: its id, once it is published.
            mlflow: the address of its MLflow run.
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
