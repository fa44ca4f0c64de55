"""Which MLflow a pipeline talks to, and its experiments. Imports MLflow only when called.

MLflow keeps runs and artifacts in one store, the tracking one, and registered models in another,
the registry. Most often both are one server, and then only the first is named.
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

__all__ = [
    "connect",
    "equal",
    "experiment_id",
    "reachable",
    "registry_uri",
    "run_url",
    "tracking_uri",
    "uris",
    "without_secret",
]

_SQLITE = "sqlite:///"
_STORE_CODES = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "BAD_REQUEST", "FEATURE_DISABLED")
"""Of MLflow's errors those that are about the store, and not about what it was asked for."""
_LINE = 300
"""Characters of what an error says that are shown."""


class Configured(Protocol):
    """What the YAML says of MLflow: its section ``registry``."""

    @property
    def tracking_uri(self) -> str | None: ...

    @property
    def registry_uri(self) -> str | None: ...


class Uris(TypedDict):
    """Where runs are and where models are; often the same."""

    tracking_uri: str
    registry_uri: str


def uris(configured: Configured, home: Path) -> Uris:
    """The two as they count: the environment's, else the configured ones.

    Raises:
        ConfigError: neither the environment nor the configuration names MLflow.
    """
    tracking = tracking_uri(configured.tracking_uri, home)
    registry = registry_uri(configured.registry_uri, home)
    return {"tracking_uri": tracking, "registry_uri": registry or tracking}


def tracking_uri(configured: str | None, home: Path) -> str:
    """MLFLOW_TRACKING_URI if set, else the configured one; SQLite files start from ``home``.

    Raises:
        ConfigError: neither is given.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or configured
    if not uri:
        raise ConfigError(
            "no MLflow is configured: set MLFLOW_TRACKING_URI, or registry.tracking_uri in "
            "conf/env/<env>.yaml, e.g. http://localhost:5000"
        )
    return _from(home, uri)


def registry_uri(configured: str | None, home: Path) -> str | None:
    """MLFLOW_REGISTRY_URI if set, else the configured one; None: models are where runs are."""
    uri = os.environ.get("MLFLOW_REGISTRY_URI") or configured
    return _from(home, uri) if uri else None


def _from(home: Path, uri: str) -> str:
    if uri.startswith(_SQLITE):
        path = (home / uri.removeprefix(_SQLITE)).resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        return f"{_SQLITE}{path}"
    return uri


def run_url(uri: str, run_id: str | None) -> str | None:
    """Where MLflow's own page shows a run, if MLflow is a server; without a login."""
    if not run_id or not uri.startswith("http"):
        return None
    parts = urlsplit(uri)
    parts = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return f"{urlunsplit(parts).rstrip('/')}/#/runs/{quote(run_id, safe='')}"


def connect(uri: str, registry: str | None = None) -> MlflowClient:
    """A client for tracking at ``uri``; both become MLflow's current ones.

    Args:
        registry: where models are registered, if not at ``uri`` too.

    Raises:
        ConfigError, RegistryUnavailable: as ``reachable``.
    """
    # A server that is down is found in seconds, not in the client's default of minutes;
    # what comes after that is Airflow's retry.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow

    said = os.environ.get("MLFLOW_REGISTRY_URI")
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(registry or uri)
    # MLflow writes it into the environment, where it would outlive this call as the user's word.
    os.environ.pop("MLFLOW_REGISTRY_URI", None)
    if said is not None:
        os.environ["MLFLOW_REGISTRY_URI"] = said
    with reachable(uri):
        return mlflow.MlflowClient(uri, registry or uri)


@contextmanager
def reachable(uri: str) -> Iterator[None]:
    """Says what is wrong with MLflow itself; that it lacks what was asked for passes through.

    Raises:
        RegistryUnavailable: it did not answer, or not now.
        ConfigError: it refused, or can't be used at all: no such kind of URI, no database that is
            MLflow's, no driver for it.
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
"""What SQLAlchemy says of a database that may answer later."""


def _of_store(error: Exception, uri: str) -> NocturneError | None:
    """What is wrong with the store; None if it is not the store."""
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
    line = next((x.strip() for x in text.splitlines() if x.strip()), "it says no more")
    said = without_secret(line.replace(uri, where))[:_LINE].rstrip(".")
    said = f"MLflow at {where} can't be used: {type(error).__name__}: {said}"
    busy = any(words in text for words in _BUSY)
    if busy or code == "TEMPORARILY_UNAVAILABLE" or isinstance(error, RestException):
        return RegistryUnavailable(f"{said}. Nothing was changed; run this again when it answers")
    return ConfigError(
        f"{said}. Correct MLFLOW_TRACKING_URI, MLFLOW_REGISTRY_URI or the YAML's section registry, "
        "or install what is missing for it"
    )


def equal(key: str, value: str) -> str:
    """A filter of MLflow's for what has this value; it knows no escape for a quote.

    For a value with both kinds of quotes others may be found too, that differ in these.
    """
    quote_ = next((q for q in "'\"" if q not in value), None)
    if quote_ is not None:
        return f"{key} = {quote_}{value}{quote_}"
    return f"""{key} LIKE '{value.replace("'", "_").replace('"', "_")}'"""


def without_secret(uri: str) -> str:
    """The URI as it may be logged: user and password taken out."""
    hidden = re.sub(r"://[^/\s]*@", "://***@", uri)
    return re.sub(r"(?i)([?&](?:user|password|token|key)=)[^&\s'\"]+", r"\1***", hidden)


def experiment_id(client: MlflowClient, name: str) -> str:
    """The experiment's id; made if it is missing.

    With SQLite as the tracking store, artifacts go beside the database and not below the
    current folder.
    """
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        return str(experiment.experiment_id)
    uri = client.tracking_uri
    location = None
    if uri.startswith(_SQLITE):
        folder = Path(uri.removeprefix(_SQLITE)).parent / "artifacts" / quote(name, safe="")
        location = folder.as_uri()
    try:
        return str(client.create_experiment(name, artifact_location=location))
    except MlflowException:
        experiment = client.get_experiment_by_name(name)  # another run made it meanwhile
        if experiment is None:
            raise
        return str(experiment.experiment_id)
