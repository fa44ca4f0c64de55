"""Parses how people name a model: NAME, NAME@ALIAS, NAME/VERSION, or a URI of MLflow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nocturne.errors import ModelError, choices
from nocturne.model.logged import logged_by
from nocturne.model.registry import versions_of
from nocturne.model.tracking import connect, equal, reachable

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

__all__ = ["parse"]

Selector = tuple[str, str | None, int | None]
"""Name, alias, version. Without alias and version, the default of the name is meant."""

_LOGGED = re.compile(r"models:/(?P<id>m-[0-9a-f]{32})")
_LATEST = re.compile(r"(models:/+)?(?P<name>[^/@:]+)/latest")
_RUN = re.compile(r"runs:/(?P<run>[^/]+)/(?P<path>.+?)/*")


def parse(model: str, tracking_uri: str, registry_uri: str | None = None) -> tuple[Selector, str]:
    """The selector of the model, and the reason for it if the registry had to be asked.

    ``runs:/RUN/PATH`` and ``models:/m-...`` mean the version that is registered from there;
    ``NAME/latest`` means the version that is now the newest.

    Raises:
        ModelError: the text has none of these forms, or no version is registered from there.
        RegistryUnavailable: the server did not answer.
    """
    if latest := _LATEST.fullmatch(model):
        return _newest(latest["name"], tracking_uri, registry_uri)
    logged, run = _LOGGED.fullmatch(model), _RUN.fullmatch(model)
    if logged is None and run is None:
        return _selector(model), ""
    client = connect(tracking_uri, registry_uri)
    with reachable(registry_uri or tracking_uri):
        ids = logged_by(client, run["run"], run["path"]) if run else []
        ids += [logged["id"]] if logged else []
        versions = list(_registered(client, model, ids))
    if not versions:
        raise ModelError(
            f"no version of a registered model is {model}, or the registry can't say so. Register "
            f'it first, mlflow.register_model("{model}", "NAME"), then give NAME',
            model=model,
        )
    newest = max(versions, key=lambda version: int(version.creation_timestamp or 0))
    others = sorted({version.name for version in versions} - {newest.name})
    note = f" (so is one of {choices(others)})" if others else ""
    return (newest.name, None, int(newest.version)), f"registered from {model}{note}"


def _newest(name: str, tracking_uri: str, registry_uri: str | None) -> tuple[Selector, str]:
    with reachable(registry_uri or tracking_uri):
        versions = versions_of(connect(tracking_uri, registry_uri), name)
    if not versions:
        return (name, None, None), ""  # the next request raises an error that lists the models
    return (name, None, max(int(v.version) for v in versions)), "the newest, as latest says"


def _selector(model: str) -> Selector:
    text = re.sub(r"models:/+", "", model, count=1) if model.startswith("models:/") else model
    name, at, alias = text.rpartition("@")
    version: str | None = None
    if not at:
        name, slash, version = text.partition("/")
        version = version if slash else None
    is_valid = version is None or (version.isdecimal() and int(version) > 0)
    if not name or (at and not alias) or not is_valid or ":" in name or "/" in name:
        raise ModelError(
            f"model: got {model!r}, expected NAME, NAME@ALIAS or NAME/VERSION, e.g. "
            "flight_delay@champion or flight_delay/3; with models:/ before it, or the "
            "runs:/RUN/PATH or models:/m-... that a version is registered from",
            model=model,
        )
    return name, alias if at else None, int(version) if version else None


def _registered(client: MlflowClient, model: str, ids: list[str]) -> Iterator[ModelVersion]:
    """The versions that are registered from a run's folder or from a logged model."""
    run = _RUN.fullmatch(model)
    sources = {model, *(f"models:/{model_id}" for model_id in ids)}
    filters = {equal("run_id", run["run"])} if run else set()
    filters |= {equal("source_path", source) for source in sources}
    matching = {}
    for query in sorted(filters):
        for version in client.search_model_versions(query):
            folder = f"/{run['run']}/artifacts/{run['path']}" if run else ""
            source = str(version.source).rstrip("/")
            matches = source in sources or getattr(version, "model_id", None) in ids
            if matches or (folder and source.endswith(folder)):
                matching[version.name, version.version] = version
    yield from matching.values()
