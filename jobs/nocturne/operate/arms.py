"""The canary, or the split, of a pipeline: what its nights had of it; it is stopped and resumed."""

from __future__ import annotations

from dataclasses import dataclass

from nocturne.config import Loaded, champion_of, shared
from nocturne.errors import ConfigError, StateError
from nocturne.pipeline.nights import PublishedNights
from nocturne.pipeline.places import Places
from nocturne.records.arms import Served, Stopped
from nocturne.store.files import forget
from nocturne.store.partition_state import now
from nocturne.store.record_files import find, write

__all__ = ["Sharing", "resume", "sharing", "stop"]


@dataclass(frozen=True)
class Sharing:
    """A canary, or a split.

    Attributes:
        name: "canary", or that of the split.
        stopped: why it scores no more nights; None if it does.
        nights: partition -> how its keys were shared, of the last published ones.
    """

    name: str
    stopped: Stopped | None
    nights: dict[str, Served]


def sharing(loaded: Loaded, last: int) -> Sharing:
    """The pipeline's canary or split, over its last published nights.

    Raises:
        ConfigError: it has neither.
    """
    name, nights = _name(loaded), PublishedNights(loaded)
    if loaded.pipeline.input.partition:
        published = nights.all(last=last)
    else:
        published = [night for night in [nights.of("all")] if night is not None]
    found = {night.key: night.manifest.arms for night in published}
    return Sharing(
        name,
        find(Stopped, Places.of(loaded).state.stopped(name)),
        {key: arms for key, arms in found.items() if arms is not None and arms.name == name},
    )


def stop(loaded: Loaded, by: str, why: str) -> Stopped:
    """Take its models, whichever they are, out of the nights that are planned from now on.

    Raises:
        ConfigError: the pipeline has neither a canary nor a split.
    """
    record = Stopped((), why or "by hand", now(), by)
    write(Places.of(loaded).state.stopped(_name(loaded)), record)
    return record


def resume(loaded: Loaded) -> None:
    """Let the models score again.

    Raises:
        ConfigError: the pipeline has neither a canary nor a split.
        StateError: it is not stopped.
    """
    known = sharing(loaded, last=1)
    if known.stopped is None:
        raise StateError(f"{known.name} of {loaded.pipeline.name} is not stopped")
    forget(Places.of(loaded).state.stopped(known.name))


def _name(loaded: Loaded) -> str:
    name = loaded.pipeline.name
    found = shared(loaded.pipeline)
    if found is None or champion_of(name) != name:
        raise ConfigError(
            f"{name} has neither a canary nor a split (canary: or split: in "
            f"conf/pipelines/{champion_of(name)}.yaml)"
        )
    return found.name
