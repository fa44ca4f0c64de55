"""Connects a training script to the MLflow of the project."""

from __future__ import annotations

import mlflow

from nocturne import config
from nocturne.model.tracking import connect, experiment_id, uris

__all__ = ["use_project"]


def use_project(experiment: str) -> mlflow.MlflowClient:
    """Set MLflow's URIs to those of the project, and its experiment; create it if it is missing.

    Raises:
        ConfigError: there is no project here, or it configures no MLflow.
    """
    root = config.home()
    addresses = uris(config.project_sections(root)[0], root)
    client = connect(addresses["tracking_uri"], addresses["registry_uri"])
    mlflow.set_experiment(experiment_id=experiment_id(client, experiment))
    return client
