"""The files that are added to a logged model so that it can be registered."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import mlflow.artifacts
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from nocturne.codec import dump
from nocturne.encoding import ENCODING_FILE, Encoding
from nocturne.errors import ModelError, choices
from nocturne.model.artifact import BASELINE_FILE
from nocturne.model.tracking import equal
from nocturne.records.drift import Baseline

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

__all__ = ["ADDED", "added", "fetch_logged", "require_unregistered"]

ADDED = "nocturne.added"
"""The tag of a logged model with the names of files that were added, until it is registered, and
who does that: the last one that has begun."""


@contextmanager
def added(
    model_id: str, encoding: Encoding | None = None, baseline: Baseline | None = None
) -> Iterator[Callable[[], None]]:
    """Add the encoding and the baseline to a logged model's files, for it to be registered within.

    Before that, what this yields raises ModelError if another registration of it has begun. If it
    is not registered, its files are again what they were. If this is killed, a tag says which are
    left; ``fetch_logged`` leaves them out, and the next registration replaces them.
    """
    files = dict[str, bytes | None]()
    if encoding is not None:
        files[ENCODING_FILE] = encoding.to_json().encode()
    if baseline is not None:
        files[BASELINE_FILE] = dump(baseline).encode()
    client = mlflow.MlflowClient()
    model = client.get_logged_model(model_id)
    left = _left(model)
    if not files and not left:
        yield lambda: None
        return
    before = _contents(model, files.keys() - left)
    names = sorted((files.keys() | left) - before.keys())
    mine = " ".join([os.urandom(8).hex(), *names])
    client.set_logged_model_tags(model_id, {ADDED: mine})

    def is_mine() -> bool:
        return bool(client.get_logged_model(model_id).tags.get(ADDED) == mine)

    def check() -> None:
        require_unregistered(model_id)
        if not is_mine():
            raise ModelError(
                f"another registration of the logged model {model_id} began meanwhile, and its "
                "files are that one's now. Wait for it, and log the model once more for another one"
            )

    try:
        check()
        _write(client, model, dict.fromkeys(left) | files)
        yield check
    except BaseException:
        with suppress(Exception):  # the error that comes first is the one to be told
            if is_mine():
                with suppress(ModelError):
                    require_unregistered(model_id)  # an answer of the registry may be lost
                    _write(client, model, {name: before.get(name) for name in files})
                _forget(client, model_id)
        raise
    _forget(client, model_id)


def fetch_logged(model_id: str, scratch: Path) -> Path:
    """Download a logged model; without files that a registration has left which was killed."""
    uri = f"models:/{model_id}"
    folder = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(scratch)))
    for name in _left(mlflow.MlflowClient().get_logged_model(model_id)):
        (folder / name).unlink(missing_ok=True)
    return folder


def require_unregistered(model_id: str) -> None:
    """Raises: ModelError if a version has been registered from this logged model."""
    found = mlflow.MlflowClient().search_model_versions(equal("source_path", f"models:/{model_id}"))
    if versions := [f"{v.name} version {v.version}" for v in found]:
        raise ModelError(
            f"the logged model {model_id} is {choices(versions)} already, and files that are added "
            "to it would change that version too; log the model once more, and register that"
        )


def _left(model: LoggedModel) -> set[str]:
    """Who can write tags can have no other files left out."""
    return {ENCODING_FILE, BASELINE_FILE} & {*model.tags.get(ADDED, "").split()}


def _forget(client: mlflow.MlflowClient, model_id: str) -> None:
    with suppress(MlflowException):  # there is none, or the server can't be reached by now
        client.delete_logged_model_tag(model_id, ADDED)


def _contents(model: LoggedModel, names: Set[str]) -> dict[str, bytes]:
    """The bytes of those files that are there."""
    repository = get_artifact_repository(model.artifact_location)
    there = names & {file.path for file in repository.list_artifacts()}
    with tempfile.TemporaryDirectory() as scratch:
        return {
            name: Path(repository.download_artifacts(name, scratch)).read_bytes() for name in there
        }


def _write(
    client: mlflow.MlflowClient, model: LoggedModel, files: Mapping[str, bytes | None]
) -> None:
    """Write files to the top of a model; None: delete it."""
    written = {name: content for name, content in files.items() if content is not None}
    with tempfile.TemporaryDirectory() as folder:
        for name, content in written.items():
            Path(folder, name).write_bytes(content)
        if written:
            client.log_model_artifacts(model.model_id, folder)
    repository = get_artifact_repository(model.artifact_location)
    there = {file.path for file in repository.list_artifacts()}
    for name in there & (files.keys() - written.keys()):
        repository.delete_artifacts(name)
