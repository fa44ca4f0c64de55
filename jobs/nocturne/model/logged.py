"""The logged models of MLflow, which a version may be registered from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nocturne.model.tracking import equal

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["logged_by"]


def logged_by(client: MlflowClient, run: str, name: str) -> list[str]:
    """The ids of the models that a run logged under that name; none if there is no such run."""
    from mlflow.exceptions import MlflowException

    try:
        experiment = client.get_run(run).info.experiment_id
        models = client.search_logged_models([experiment], equal("source_run_id", run))
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return []  # no such run, or the server stores models in their runs
        raise
    return [model.model_id for model in models if model.name == name]
