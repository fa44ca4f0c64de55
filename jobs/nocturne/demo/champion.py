"""The registered model of the demo, which is trained and registered if it does not exist.

The check of the registry loads neither torch nor scikit-learn, so a second run is quick.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from nocturne.demo import flights
from nocturne.drift import BASELINE_VERSION
from nocturne.model.tracking import connect, experiment_id, reachable
from nocturne.store.files import digest, file_digest

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

__all__ = ["ALIAS", "EXPERIMENT", "MODEL", "Champion", "champion", "recipe"]

MODEL = "flight_delay"
ALIAS = "champion"
EXPERIMENT = "flight_delay-training"


@dataclass(frozen=True)
class Champion:
    """The registered version; ``made`` says whether this call trained it."""

    version: int
    auc_april: float
    logistic_april: float
    made: bool


def recipe() -> str:
    """A digest of what determines the model: code, data, torch, format of the baseline."""
    here = Path(__file__).parent
    code = [file_digest(here / name) for name in ("train.py", "model.py")]
    return digest(code, flights.VERSION, version("torch"), BASELINE_VERSION)[:16]


def champion(folder: Path, tracking_uri: str, registry_uri: str | None = None) -> Champion:
    """The demo's model; it is trained on the tables below ``folder`` unless this recipe exists.

    The alias stays if somebody moved it to another version.

    Raises:
        RegistryUnavailable: the MLflow server did not answer.
    """
    client = connect(tracking_uri, registry_uri)
    with reachable(registry_uri or tracking_uri):
        registered = _registered(client)
        if registered is None:
            return _train_and_register(client, folder)
        if ALIAS not in client.get_registered_model(MODEL).aliases:
            client.set_registered_model_alias(MODEL, ALIAS, registered.version)
    return Champion(
        version=int(registered.version),
        auc_april=float(registered.tags["auc_april"]),
        logistic_april=float(registered.tags["auc_april_logistic"]),
        made=False,
    )


def _registered(client: MlflowClient) -> ModelVersion | None:
    query = f"name = '{MODEL}' and tags.recipe = '{recipe()}'"
    versions = [v for v in client.search_model_versions(query) if v.status == "READY"]
    return max(versions, key=lambda v: int(v.version), default=None)


def _train_and_register(client: MlflowClient, folder: Path) -> Champion:
    import mlflow

    from nocturne import contract
    from nocturne.demo.train import SEGMENTS, SETTINGS, train

    # It warns if an environment has no pip (as with uv); the requirements are pinned anyway.
    logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)
    trained = train(folder)
    experiment = experiment_id(client, EXPERIMENT)
    with mlflow.start_run(experiment_id=experiment, run_name=f"{MODEL} {recipe()}"):
        mlflow.log_params({**asdict(SETTINGS), "epochs": trained.epochs})
        mlflow.log_metrics(
            {f"auc_{month}": value for month, value in trained.auc.items()}
            | {f"auc_{month}_logistic": value for month, value in trained.logistic.items()}
        )
        logged = contract.log_torch_model(
            trained.module,
            trained.encoding,
            trained.data,
            name=MODEL,
            partitions=trained.data["ds"],
            segments=SEGMENTS,
            registered_model_name=MODEL,
            alias=ALIAS,
            tags={
                "stage": "production",
                "recipe": recipe(),
                "auc_april": f"{trained.auc['april']:.4f}",
                "auc_april_logistic": f"{trained.logistic['april']:.4f}",
            },
        )
    return Champion(
        version=logged.version or 0,
        auc_april=trained.auc["april"],
        logistic_april=trained.logistic["april"],
        made=True,
    )
