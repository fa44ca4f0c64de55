"""A real MLflow store on SQLite, to which nights are logged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from nocturne.model.tracking import connect
from nocturne.records.manifest import Judgement
from nocturne.report import log_night, tag_night

EXPERIMENT = "nocturne/flight_delay"


class Store:
    """A tracking store, and what this test reads back from it."""

    def __init__(self, folder: Path) -> None:
        self.uri = f"sqlite:///{folder / 'mlflow.db'}"
        self.client: Any = connect(self.uri)
        self.report = folder / "report.html"
        self.report.write_text("<p>the night</p>")
        self.docs = folder / "data_docs"
        self.docs.mkdir()
        (self.docs / "index.html").write_text("docs")

    def log(self, night: Any, judgement: Judgement | None = None, **plan: Any) -> str:
        return log_night(
            replace(night.plan, **plan),
            judgement or night.judgement,
            night.profile,
            [self.report, self.docs],
            tracking_uri=self.uri,
            experiment=EXPERIMENT,
        )

    def runs(self) -> list[Any]:
        found = self.client.get_experiment_by_name(EXPERIMENT)
        return list(self.client.search_runs([found.experiment_id]))

    def tag(self, night: Any, **tags: Any) -> None:
        to = {"tracking_uri": self.uri, "experiment": EXPERIMENT}
        tag_night(night.plan, **tags, **to)

    def tags(self, run_id: str) -> dict[str, str]:
        return dict(self.client.get_run(run_id).data.tags)

    def experiment(self) -> Any:
        return self.client.get_experiment_by_name(EXPERIMENT)
