"""The history of a registered model: its aliases, and the nights that its versions scored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nocturne import config
from nocturne.config import Loaded
from nocturne.errors import ModelError, NocturneError
from nocturne.model.aliases import changes_of, notice
from nocturne.model.tracking import connect, reachable, uris, without_secret
from nocturne.pipeline.nights import PublishedNights
from nocturne.records.aliases import AliasChange

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["History", "Scored", "history_of", "registry"]


@dataclass(frozen=True)
class Scored:
    """The nights of a pipeline that a version scored, wholly or (``share``) a share of the keys."""

    pipeline: str
    version: int
    share: bool
    first: str
    last: str
    nights: int = 1


@dataclass(frozen=True)
class History:
    """What became of a registered model.

    ``unreadable``: pipelines whose nights can't be read -> why.
    """

    changes: list[AliasChange]
    scored: list[Scored]
    unreadable: dict[str, str]


@contextmanager
def registry(loaded: Loaded | None = None) -> Iterator[MlflowClient]:
    """The project's registry, or that of a pipeline.

    Raises:
        ConfigError: none is configured.
        RegistryUnavailable: it does not answer.
        ModelError: it refuses what is asked of it.
    """
    home = config.home() if loaded is None else loaded.home
    section = config.project_sections(home)[0] if loaded is None else loaded.pipeline.registry
    found = uris(section, home)
    with reachable(found["registry_uri"]):
        from mlflow.exceptions import MlflowException

        try:
            yield connect(found["tracking_uri"], found["registry_uri"])
        except MlflowException as error:
            if error.error_code in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE"):
                raise
            raise ModelError(f"MLflow refuses: {without_secret(str(error))}") from None


def history_of(name: str) -> History:
    """The history of a registered model. What was changed in MLflow since is noticed now.

    Raises:
        ModelError: there is no such model.
        RegistryUnavailable: the server does not answer.
        StateError: a record of it is damaged.
    """
    from mlflow.exceptions import MlflowException

    with registry() as client:
        try:
            model = client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise ModelError(f"there is no registered model {name!r}") from None
        with suppress(MlflowException):  # who may only read sees what is known
            for alias in {*dict(model.aliases), *(c.alias for c in changes_of(model.tags))}:
                notice(client, name, alias)
        changes = changes_of(client.get_registered_model(name).tags)
    scored, unreadable = list[Scored](), dict[str, str]()
    for pipeline in config.names(config.home()):
        try:
            scored += _scored(config.load(pipeline), name)
        except NocturneError as error:
            unreadable[pipeline] = str(error)
    return History(sorted(changes, key=lambda c: (c.at, c.number)), scored, unreadable)


def _scored(loaded: Loaded, name: str) -> list[Scored]:
    found = dict[tuple[int, bool], Scored]()
    nights = PublishedNights(loaded)
    for night in nights.all():
        manifest, key = night.manifest, night.key
        versions = [(manifest.model.version, False)] if manifest.model.name == name else []
        arms = manifest.arms.in_it if manifest.arms else ()
        versions += [(arm.version, True) for arm in arms if arm.model == name]
        for version in versions:
            if (before := found.get(version)) is None:
                found[version] = Scored(loaded.pipeline.name, *version, key, key)
            else:
                found[version] = replace(before, last=key, nights=before.nights + 1)
    return sorted(found.values(), key=lambda one: (one.first, one.version))
