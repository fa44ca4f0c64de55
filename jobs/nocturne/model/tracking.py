"""Connects to the MLflow of a pipeline and its experiments. Imports MLflow only when called.

MLflow keeps runs and artifacts in the tracking store, and registered models in the registry. Most
often both are one server, and then only the tracking store is configured.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypedDict
from urllib.parse import quote, urlsplit, urlunsplit

from nocturne.errors import ConfigError, NocturneError, RegistryUnavailable

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

__all__ = [
    "briefly",
    "connect",
    "equal",
    "experiment_id",
    "experiment_named",
    "import_mlflow",
    "reachable",
    "registry_uri",
    "run_url",
    "tracking_uri",
    "uris",
    "without_secret",
]

_SQLITE = "sqlite:///"
_STORE_CODES = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "BAD_REQUEST", "FEATURE_DISABLED")
"""Codes of MLflow's errors that are about the store and not about the requested object."""
_LINE = 300
"""The most characters of an error that are shown."""
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
"""A server that is down is noticed in seconds; with the client's defaults it takes minutes."""
_LITTLE_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}


class Configured(Protocol):
    """The section ``registry`` of the YAML."""

    @property
    def tracking_uri(self) -> str | None: ...

    @property
    def registry_uri(self) -> str | None: ...


class Uris(TypedDict):
    """The tracking store and the registry; often the same server."""

    tracking_uri: str
    registry_uri: str


def uris(configured: Configured, home: Path) -> Uris:
    """The URIs in force: those of the environment, or else the configured ones.

    Raises:
        ConfigError: neither the environment nor the configuration names MLflow.
    """
    tracking = tracking_uri(configured.tracking_uri, home)
    registry = registry_uri(configured.registry_uri, home)
    return {"tracking_uri": tracking, "registry_uri": registry or tracking}


def tracking_uri(configured: str | None, home: Path) -> str:
    """MLFLOW_TRACKING_URI if set, else the configured URI; SQLite paths are relative to ``home``.

    Raises:
        ConfigError: neither is set.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or configured
    if not uri:
        raise ConfigError(
            "no MLflow is configured: set MLFLOW_TRACKING_URI, or registry.tracking_uri in "
            "conf/env/<env>.yaml, e.g. http://localhost:5000"
        )
    return _from(home, uri)


def registry_uri(configured: str | None, home: Path) -> str | None:
    """MLFLOW_REGISTRY_URI if set, else the configured URI; None if it is the tracking URI."""
    uri = os.environ.get("MLFLOW_REGISTRY_URI") or configured
    return _from(home, uri) if uri else None


def _from(home: Path, uri: str) -> str:
    if uri.startswith(_SQLITE):
        path = (home / uri.removeprefix(_SQLITE)).resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        return f"{_SQLITE}{path}"
    return uri


def run_url(uri: str, run_id: str | None) -> str | None:
    """The URL of a run in MLflow's UI, without credentials; None if MLflow is not a server."""
    if not run_id or not uri.startswith("http"):
        return None
    parts = urlsplit(uri)
    parts = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return f"{urlunsplit(parts).rstrip('/')}/#/runs/{quote(run_id, safe='')}"


def import_mlflow() -> None:
    """Import MLflow, which takes seconds, before somebody waits for it."""
    import mlflow.tracking  # noqa: F401


def connect(uri: str, registry: str | None = None) -> MlflowClient:
    """A client for the tracking store at ``uri``; both URIs become MLflow's current ones.

    Args:
        registry: where models are registered; default: ``uri``.

    Raises:
        ConfigError, RegistryUnavailable: see ``reachable``.
    """
    for name, value in _PATIENCE.items():  # Airflow retries later
        os.environ.setdefault(name, value)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow

    original = os.environ.get("MLFLOW_REGISTRY_URI")
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(registry or uri)
    # MLflow sets this variable, which later calls would take for a setting of the user's.
    os.environ.pop("MLFLOW_REGISTRY_URI", None)
    if original is not None:
        os.environ["MLFLOW_REGISTRY_URI"] = original
    with reachable(uri):
        return mlflow.MlflowClient(uri, registry or uri)


@contextmanager
def briefly() -> Iterator[None]:
    """A server that is down is given up after five seconds: a person waits for the answer.

    A user's own settings stay. MLflow reads the patience of a request from the environment, so this
    is for commands that do one thing at a time.
    """
    before = {name: os.environ.get(name) for name in _LITTLE_PATIENCE}
    for name, value in _LITTLE_PATIENCE.items():
        if before[name] in (None, _PATIENCE[name]):
            os.environ[name] = value
    try:
        yield
    finally:
        for name, text in before.items():
            if text is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = text


@contextmanager
def reachable(uri: str) -> Iterator[None]:
    """Raises Nocturne's errors if MLflow itself fails; an error about a model or a run passes.

    Raises:
        RegistryUnavailable: MLflow did not answer, or can't answer now.
        ConfigError: MLflow refused access, or can't be used: the kind of URI is unknown, the
            database is not MLflow's, or its driver is missing.
    """
    try:
        yield
    except Exception as error:
        known = _of_store(error, uri)
        if known is None:
            raise
        raise known from None


_DOWN = ("Max retries exceeded", "too many 5", "timed out")
_BUSY = ("database is locked", "Connection refused", "could not connect", "connection failed")
"""SQLAlchemy's messages about a database that may answer later."""


def _of_store(error: Exception, uri: str) -> NocturneError | None:
    """The error if the store fails; None if the store is not the cause."""
    from mlflow.exceptions import MlflowException, RestException
    from mlflow.tracking.registry import UnsupportedModelRegistryStoreURIException as Unsupported

    database = any(kind.__module__.startswith("sqlalchemy.") for kind in type(error).__mro__)
    if not (database or isinstance(error, (MlflowException, ImportError))):
        return None
    text, where = str(error), without_secret(uri)
    code = getattr(error, "error_code", None) if isinstance(error, MlflowException) else None
    if any(f"error code {number}" in text for number in (401, 403)):
        return ConfigError(
            f"MLflow at {where} refused: not authenticated or not allowed. Set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (or MLFLOW_TRACKING_TOKEN) "
            "in the environment of the job"
        )
    if code and any(words in text for words in _DOWN):
        return RegistryUnavailable(
            f"MLflow at {where} did not answer; nothing was changed. Check that "
            "the server runs (`nocturne doctor`), then run this again.",
        )
    if code not in (None, *_STORE_CODES) and not isinstance(error, Unsupported):
        return None
    line = next((x.strip() for x in text.splitlines() if x.strip()), "the error has no text")
    shown = without_secret(line.replace(uri, where))[:_LINE].rstrip(".")
    problem = f"MLflow at {where} can't be used: {type(error).__name__}: {shown}"
    busy = any(words in text for words in _BUSY)
    if busy or code == "TEMPORARILY_UNAVAILABLE" or isinstance(error, RestException):
        return RegistryUnavailable(
            f"{problem}. Nothing was changed; run this again when it answers"
        )
    return ConfigError(
        f"{problem}. Correct MLFLOW_TRACKING_URI, MLFLOW_REGISTRY_URI or the YAML's section "
        "registry, or install what is missing for it"
    )


def equal(key: str, value: str) -> str:
    """MLflow's filter for ``key`` equal to ``value``; its syntax has no escape for a quote.

    A value with both kinds of quotes also matches values that differ only in the quotes.
    """
    quote_ = next((q for q in "'\"" if q not in value), None)
    if quote_ is not None:
        return f"{key} = {quote_}{value}{quote_}"
    return f"""{key} LIKE '{value.replace("'", "_").replace('"', "_")}'"""


def without_secret(uri: str) -> str:
    """The URI without user and password, for logs."""
    hidden = re.sub(r"://[^/\s]*@", "://***@", uri)
    return re.sub(r"(?i)([?&](?:user|password|token|key)=)[^&\s'\"]+", r"\1***", hidden)


def experiment_id(client: MlflowClient, name: str) -> str:
    """The experiment's id: see ``experiment_named``."""
    return str(experiment_named(client, name).experiment_id)


def experiment_named(client: MlflowClient, name: str) -> Experiment:
    """The experiment, with its tags. A missing experiment is created.

    With SQLite as the tracking store, artifacts are kept beside the database and not in the current
    folder.
    """
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        return experiment
    uri = client.tracking_uri
    location = None
    if uri.startswith(_SQLITE):
        folder = Path(uri.removeprefix(_SQLITE)).parent / "artifacts" / quote(name, safe="")
        location = folder.as_uri()
    try:
        return client.get_experiment(client.create_experiment(name, artifact_location=location))
    except MlflowException:
        experiment = client.get_experiment_by_name(name)  # another run has created it
        if experiment is None:
            raise
        return experiment
