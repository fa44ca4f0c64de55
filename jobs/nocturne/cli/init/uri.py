"""What people call a model: NAME, NAME@ALIAS, NAME/VERSION, or a URI of MLflow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nocturne.errors import ModelError, choices
from nocturne.model.registry import versions_of
from nocturne.model.tracking import connect, equal, reachable

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

__all__ = ["parse"]

Named = tuple[str, str | None, int | None]
"""Name, alias, version; neither of the last two: what the name means by default."""

_LOGGED = re.compile(r"models:/(?P<id>m-[0-9a-f]{32})")
_LATEST = re.compile(r"(models:/+)?(?P<name>[^/@:]+)/latest")
_RUN = re.compile(r"runs:/(?P<run>[^/]+)/(?P<path>.+?)/*")


def parse(model: str, tracking_uri: str, registry_uri: str | None = None) -> tuple[Named, str]:
    """The model that is meant, and why it is that one, if the registry had to be asked.

    ``runs:/RUN/PATH`` and ``models:/m-...`` are the version that is registered from there,
    ``NAME/latest`` is the newest one now.

    Raises:
        ModelError: it is none of these, or nothing is registered from there.
        RegistryUnavailable: the server did not answer.
    """
    if latest := _LATEST.fullmatch(model):
        return _newest(latest["name"], tracking_uri, registry_uri)
    logged, run = _LOGGED.fullmatch(model), _RUN.fullmatch(model)
    if logged is None and run is None:
        return _named(model), ""
    client = connect(tracking_uri, registry_uri)
    with reachable(registry_uri or tracking_uri):
        ids = _logged_by(client, run["run"], run["path"]) if run else []
        ids += [logged["id"]] if logged else []
        found = list(_registered(client, model, ids))
    if not found:
        raise ModelError(
            f"no version of a registered model is {model}, or the registry can't say so. Register "
            f'it first, mlflow.register_model("{model}", "NAME"), then give NAME',
            model=model,
        )
    newest = max(found, key=lambda version: int(version.creation_timestamp or 0))
    others = sorted({version.name for version in found} - {newest.name})
    also = f" (so is one of {choices(others)})" if others else ""
    return (newest.name, None, int(newest.version)), f"registered from {model}{also}"


def _newest(name: str, tracking_uri: str, registry_uri: str | None) -> tuple[Named, str]:
    with reachable(registry_uri or tracking_uri):
        found = versions_of(connect(tracking_uri, registry_uri), name)
    if not found:
        return (name, None, None), ""  # what is asked for it next says what there is
    return (name, None, max(int(v.version) for v in found)), "the newest, as latest says"


def _named(model: str) -> Named:
    text = re.sub(r"models:/+", "", model, count=1) if model.startswith("models:/") else model
    name, at, alias = text.rpartition("@")
    version: str | None = None
    if not at:
        name, slash, version = text.partition("/")
        version = version if slash else None
    whole = version is None or (version.isdecimal() and int(version) > 0)
    if not name or (at and not alias) or not whole or ":" in name or "/" in name:
        raise ModelError(
            f"model: got {model!r}, expected NAME, NAME@ALIAS or NAME/VERSION, e.g. "
            "flight_delay@champion or flight_delay/3; with models:/ before it, or the "
            "runs:/RUN/PATH or models:/m-... that a version is registered from",
            model=model,
        )
    return name, alias if at else None, int(version) if version else None


def _logged_by(client: MlflowClient, run: str, path: str) -> list[str]:
    """The ids of the models that a run has logged by that name."""
    from mlflow.exceptions import MlflowException

    try:
        experiment = client.get_run(run).info.experiment_id
        found = client.search_logged_models([experiment], equal("source_run_id", run))
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return []  # no such run, or a server that keeps models with their runs
        raise
    return [model.model_id for model in found if model.name == path]


def _registered(client: MlflowClient, model: str, ids: list[str]) -> Iterator[ModelVersion]:
    """The versions that come from a run's folder or from a logged model."""
    run = _RUN.fullmatch(model)
    sources = {model, *(f"models:/{one}" for one in ids)}
    asked = {equal("run_id", run["run"])} if run else set()
    asked |= {equal("source_path", source) for source in sources}
    seen = {}
    for query in sorted(asked):
        for version in client.search_model_versions(query):
            folder = f"/{run['run']}/artifacts/{run['path']}" if run else ""
            source = str(version.source).rstrip("/")
            same = source in sources or getattr(version, "model_id", None) in ids
            if same or (folder and source.endswith(folder)):
                seen[version.name, version.version] = version
    yield from seen.values()
