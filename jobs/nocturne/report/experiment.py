"""The experiment of a pipeline's nights: its kind, its description and the view of its runs."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

from nocturne.model.tracking import experiment_named
from nocturne.report.description import VIEW, describe_experiment, description_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["experiment_of_nights"]

_KIND, _MODELS = "mlflow.experimentKind", "custom_model_development"
"""The kind of experiment that MLflow 3 opens on its runs. Version 3.17 asks the browser's switch
*GenAI* or *Model training* instead, or the parameter ``workflowType`` of a link."""
_PIPELINE = "nocturne.pipeline"
_VIEW = {
    "searchFilter": "tags.`nocturne.partition` != ''",
    "orderByKey": "tags.`nocturne.partition`",
    "orderByAsc": False,
    "selectedColumns": [
        "attributes.`Description`",
        "tags.`nocturne.verdict`",
        "tags.`nocturne.state`",
        "tags.`nocturne.decision`",
    ],
}
"""The nights, the last first, with what was found and what became of it: MLflow's own list has no
tags, is in order of creation, and has the monitoring runs too."""


def experiment_of_nights(client: MlflowClient, name: str, pipeline: str, page: str) -> str:
    """The id of the experiment, which is created and described if that is not done yet.

    An experiment that several pipelines share keeps the description of the first.

    Args:
        page: the URL of the page of a night; "" if it is not known.
    """
    from mlflow.exceptions import MlflowException

    experiment = experiment_named(client, name)
    id_, present = str(experiment.experiment_id), dict(experiment.tags)
    view = f"mlflow.sharedViewState.{VIEW}", json.dumps(_VIEW)
    tags = {} if view in present.items() else dict([view])
    if _KIND not in present:
        tags[_KIND] = _MODELS
    if present.setdefault(_PIPELINE, pipeline) == pipeline:
        tags |= {} if _PIPELINE in experiment.tags else {_PIPELINE: pipeline}
        without_page = not page and bool(present.get("mlflow.note.content"))
        if not without_page:  # a command knows no page, and keeps the link that is there
            tags |= description_tags(present, describe_experiment(pipeline, id_, page))
    for key, value in tags.items():
        with suppress(MlflowException):  # who may log a run may not be allowed to do this
            client.set_experiment_tag(id_, key, value)
    return id_
