"""The model of a run, or of a range of runs, which resolves its alias only once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from nocturne.config import Loaded, end_of
from nocturne.errors import ConfigError, NocturneError, RetryableError, StateError
from nocturne.model import aliases, registry
from nocturne.model.tracking import connect, reachable, uris, without_secret
from nocturne.objects import Location
from nocturne.pipeline.nights import PublishedNights
from nocturne.pipeline.places import Places
from nocturne.records.aliases import AliasChange
from nocturne.records.partition import Partition
from nocturne.store.run import Run

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["Resolve", "client_of", "resolver", "version_now", "versions_for"]

log = logging.getLogger(__name__)

_OF_FILES = {"allow_pickle", "require_digest"}
_SELECTS = {"name", "alias", "tags", "version", "inputs", "params"} | _OF_FILES
"""The keys of ``model:`` in the YAML that select the version and say how it may be loaded."""

Resolve = Callable[[], registry.Resolved]


def resolver(loaded: Loaded, models: Location | None = None) -> Resolve:
    """A function that resolves the model in its first call, and then returns the same answer.

    It raises the same error again, too: otherwise each night of a range would wait for it.

    Args:
        models: the folder for the model's files. Default: the one in the pipeline's state.
    """
    answer: registry.Resolved | NocturneError | None = None

    def resolve() -> registry.Resolved:
        nonlocal answer
        if answer is None:
            pipeline = loaded.pipeline
            key = pipeline.model.require_signature
            try:
                answer = registry.resolve(
                    **pipeline.model.model_dump(include=_SELECTS),
                    **uris(pipeline.registry, loaded.home),
                    models=models or Places.of(loaded).state.models,
                    require_signature=None if key is None else loaded.home / key,
                )
                _notice(loaded)
            except NocturneError as error:
                answer = error
        if isinstance(answer, NocturneError):
            raise answer
        return answer

    return resolve


def _notice(loaded: Loaded) -> None:
    """Keep the alias's history, if it can be written; no night needs it."""
    model = loaded.pipeline.model
    if model.alias is None:
        return
    try:
        client = client_of(loaded)
        if (change := aliases.notice(client, model.name, model.alias)) and change.since:
            log.warning(
                "%s@%s was moved from version %s to %s in MLflow, since %s",
                *(model.name, model.alias, change.before, change.after, change.since),
            )
    except Exception as error:
        why = f"{type(error).__name__}: {without_secret(str(error))}"
        log.warning("the history of %s@%s is not kept: %s", model.name, model.alias, why)


def client_of(loaded: Loaded) -> MlflowClient:
    """A client of the pipeline's registry."""
    found = uris(loaded.pipeline.registry, loaded.home)
    return connect(found["tracking_uri"], found["registry_uri"])


def versions_for(loaded: Loaded, partitions: Sequence[Partition], which: str) -> list[int | None]:
    """The version of the model that each night is scored by; None: the one that is selected now.

    Args:
        which: ``current``, ``as_of`` or ``pinned``: see ``model.backfill``.

    Raises:
        ConfigError: the model is not selected by an alias, or another one scored the night.
        StateError: which version it was can't be known, or the night is not published.
        RegistryUnavailable: the server did not answer.
    """
    if which == "current":
        return [None] * len(partitions)
    nights = PublishedNights(loaded)
    if which == "pinned":
        return [_pinned(loaded, nights, partition) for partition in partitions]
    changes, points = _history(loaded), _points(loaded, nights)
    return [_as_of(loaded, partition, changes, points) for partition in partitions]


def _pinned(loaded: Loaded, nights: PublishedNights, partition: Partition) -> int:
    name, scored = loaded.pipeline.model.name, nights.manifest(partition).model
    if scored.name != name:
        raise ConfigError(
            f"{loaded.pipeline.name} {partition.key} was scored by {scored.name}, and the "
            f"pipeline's model is {name}: pinned keeps the version, not the model"
        )
    return scored.version


def _history(loaded: Loaded) -> list[AliasChange]:
    """That of the pipeline's alias; the last change says where it is now."""
    model, what = loaded.pipeline.model, loaded.pipeline.name
    if model.alias is None:
        raise ConfigError(
            f"{what}: as_of is for a model that is selected by an alias, whose history is known. "
            "Name the version"
        )
    registry_uri = uris(loaded.pipeline.registry, loaded.home)["registry_uri"]
    with reachable(registry_uri):
        client = client_of(loaded)
        version_now(loaded)  # that there is such an alias; what is new is noticed
        found = client.get_registered_model(model.name)
        changes = aliases.changes_of(found.tags, model.alias)
        if not changes or str(changes[-1].after) != str(dict(found.aliases).get(model.alias)):
            raise RetryableError(
                f"{what}: {model.name}@{model.alias} is being moved, or its history can't be "
                "written. Run the same command again, or name the version"
            )
    return changes


def _as_of(
    loaded: Loaded,
    partition: Partition,
    changes: Sequence[AliasChange],
    points: Sequence[aliases.Point],
) -> int:
    model, what = loaded.pipeline.model, f"{loaded.pipeline.name} {partition.key}"
    when = end_of(loaded.pipeline.input.partition, partition.key, loaded.pipeline.schedule.timezone)
    try:
        version = aliases.known_version(changes, points, when)
    except StateError as error:
        raise StateError(f"{what}, model {model.name}@{model.alias}: {error}") from None
    if version is None:
        raise StateError(
            f"{what}: {model.name} had no alias {model.alias} at {when.isoformat()}. Name the "
            "version"
        )
    return version


def _points(loaded: Loaded, nights: PublishedNights) -> list[aliases.Point]:
    """When published nights have resolved the alias, and which version they got."""
    model, found = loaded.pipeline.model, []
    for night in nights.all():
        ref = night.manifest.model
        if (ref.name, ref.selector) == (model.name, f"alias {model.alias}"):
            with suppress(NocturneError):  # its run may be gone
                state = nights.state_of(night.manifest.partition)
                plan = Run.at(state, night.manifest.run_key).plan
                found.append(aliases.Point(plan.created, ref.version))
    return sorted(found, key=lambda point: point.at)


def version_now(loaded: Loaded) -> int:
    """The version that the pipeline's alias or tags select now.

    Raises:
        ModelError: there is no such version.
        RegistryUnavailable: the server did not answer.
    """
    pipeline = loaded.pipeline
    version = registry.version_of(
        **pipeline.model.model_dump(include={"name", "alias", "tags"}),
        **uris(pipeline.registry, loaded.home),
    )
    _notice(loaded)
    return version
