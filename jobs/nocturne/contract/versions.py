"""Registers a logged model of any flavor, with its encoding, baseline and digest."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.prompt.constants import IS_PROMPT_TAG_KEY

from nocturne.contract.added import added, require_unregistered
from nocturne.encoding import Encoding
from nocturne.errors import ModelError, TerminalError
from nocturne.host.identity import login
from nocturne.model.aliases import check_alias, promote, version_at
from nocturne.model.digests import DIGEST, digest_of
from nocturne.model.registry import versions_of
from nocturne.model.tracking import equal, without_secret
from nocturne.records.drift import Baseline

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models.model import ModelInfo

    from nocturne.records.aliases import AliasChange

__all__ = [
    "alias_before",
    "digest_logged",
    "move_alias",
    "register",
    "register_files",
    "require_no_prompt",
    "still_to_do",
]


def register(
    model: ModelInfo | str,
    name: str,
    *,
    alias: str | None = None,
    tags: Mapping[str, str] | None = None,
    encoding: Encoding | None = None,
    baseline: Baseline | None = None,
) -> ModelVersion:
    """Register a logged model of any flavor, with its encoding and baseline.

    The two are first written to the model's artifact folder, so that ``models:/name/version``
    contains them, and are taken away again if it can't be registered. The version is tagged with
    the digest of its files from its first moment, and the alias is moved last.

    Args:
        model: the return value of ``mlflow.<flavor>.log_model``, or a model id (``m-...``).

    Raises:
        ModelError: ``model`` is not a logged model; or there is a file to be written to it, and it
            is registered already; or a prompt has the name.
        Superseded: somebody else has moved the alias meanwhile; the version is registered.
    """
    model_id = model if isinstance(model, str) else getattr(model, "model_id", None)
    model_id = (model_id or "").removeprefix("models:/")
    if not model_id.startswith("m-"):
        raise ModelError(
            f"got {model!r}, expected what mlflow.<flavor>.log_model(..., name=...) returned, or "
            "a model id such as m-0123abcd"
        )
    require_no_prompt(name)
    over = alias_before(name, alias)
    if encoding is not None or baseline is not None:
        require_unregistered(model_id)
    with added(model_id, encoding, baseline) as check:
        sha256 = digest_logged(model_id)
        check()
        version = register_files(model_id, name, sha256, tags)
    if alias:
        move_alias(name, alias, int(version.version), over)
    return version


def alias_before(name: str, alias: str | None) -> int:
    """The version that the alias is at, for ``move_alias``; 0 if it is nowhere, or there is none.

    Raises:
        ModelError: MLflow takes no such alias.
    """
    if not alias:
        return 0
    check_alias(alias)
    return version_at(mlflow.MlflowClient(), name, alias)


def move_alias(
    name: str, alias: str, version: int, over: int, by: str = "", why: str = ""
) -> AliasChange:
    """Move the alias to a version that was registered just now.

    Args:
        over: where it was before all began.
        by: who; default: the user.

    Raises:
        Superseded: somebody else has moved it meanwhile.
        ModelError: it could not be moved.
    """
    with still_to_do(
        f"{name} version {version} is registered, but the alias {alias} was not moved to it",
        f"Look at `nocturne history {name}`; to move it: nocturne promote {name} {version} "
        f"--alias {alias}",
    ):
        return promote(mlflow.MlflowClient(), name, alias, version, by or login(), why, over)


@contextmanager
def still_to_do(done: str, remedy: str) -> Iterator[None]:
    """An error within says what is done already, and what to do: not the same once more.

    Raises:
        TerminalError: whatever it was, since a retry would register another version.
    """
    try:
        yield
    except Exception as error:
        kind = type(error) if isinstance(error, TerminalError) else ModelError
        text = " ".join(without_secret(str(error)).split()).rstrip(".")
        said = text if isinstance(error, TerminalError) else f"{type(error).__name__}: {text}"
        raise kind(f"{done}: {said}. {remedy}") from error


def digest_logged(model_id: str) -> str:
    """The digest of a logged model's files, which are downloaded."""
    uri = f"models:/{model_id}"
    return digest_of(mlflow.MlflowClient(), uri, f"the logged model {model_id}")


def register_files(
    model_id: str, name: str, sha256: str, tags: Mapping[str, str] | None = None
) -> ModelVersion:
    """Register a logged model as it is. The version has its digest from its first moment.

    If it fails, no registered model stays that was made for it.
    """
    client, uri = mlflow.MlflowClient(), f"models:/{model_id}"
    was_there, before = _is_there(client, name), {v.version for v in versions_of(client, name)}
    try:
        return mlflow.register_model(uri, name, tags={**(tags or {}), DIGEST: sha256})
    except BaseException as error:
        made = None
        with suppress(Exception):  # the error that comes first is the one to be told
            new = [v for v in versions_of(client, name) if v.version not in before]
            made = next((v for v in new if v.source == uri), None)
            if made is None and not was_there:
                _remove_empty(client, name)
        if made is None or made.status != "READY" or not isinstance(error, Exception):
            raise
        return made  # only the answer was lost, or a tag for MLflow's page


def _is_there(client: MlflowClient, name: str) -> bool:
    try:
        client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    return True


def _remove_empty(client: MlflowClient, name: str) -> None:
    """Remove a registered model that has nothing; not if somebody registers a version meanwhile.

    MLflow would delete that too: so it gets a name first by which nobody finds it.
    """
    if not _is_empty(client, name):
        return
    aside = f"{name}-{os.urandom(8).hex()}"
    client.rename_registered_model(name, aside)
    if _is_empty(client, aside):
        client.delete_registered_model(aside)
    else:
        client.rename_registered_model(aside, name)


def _is_empty(client: MlflowClient, name: str) -> bool:
    model = client.get_registered_model(name)
    more = model.tags or model.aliases or model.description
    return not more and not versions_of(client, name)


def require_no_prompt(name: str) -> None:
    """Prompts and models share their names in MLflow, which shows the one or the other.

    Raises:
        ModelError: the name is a prompt's: a version of it would be found by nobody.
    """
    of_prompts = f"{equal('name', name)} AND tags.`{IS_PROMPT_TAG_KEY}` = 'true'"
    if any(
        found.name == name for found in mlflow.MlflowClient().search_registered_models(of_prompts)
    ):
        raise ModelError(
            f"{name!r} is the name of a prompt in the registry, and MLflow finds no model of that "
            "name; register the model under another one, or delete the prompt"
        )
