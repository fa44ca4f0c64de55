"""MLflow as this project uses it, for a training script."""

from __future__ import annotations

import mlflow

from nocturne import config
from nocturne.model.tracking import connect, experiment_id, uris

__all__ = ["use_project"]


def use_project(experiment: str) -> mlflow.MlflowClient:
    """Point MLflow at the project's registry and an experiment of it, made if it is missing.

    Raises:
        ConfigError: there is no project here, or it names no MLflow.
    """
    root = config.home()
    addresses = uris(config.project_sections(root)[0], root)
    client = connect(addresses["tracking_uri"], addresses["registry_uri"])
    mlflow.set_experiment(experiment_id=experiment_id(client, experiment))
    return client
