"""The model of a run, or of a range of runs, which resolves its alias only once."""

from __future__ import annotations

from collections.abc import Callable

from nocturne.config import Loaded
from nocturne.errors import NocturneError
from nocturne.model import registry
from nocturne.model.tracking import uris
from nocturne.objects import Location
from nocturne.pipeline.places import Places

__all__ = ["Resolve", "resolver", "version_now"]

_SELECTS = {"name", "alias", "tags", "version", "allow_pickle", "inputs", "params"}
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
            try:
                answer = registry.resolve(
                    **pipeline.model.model_dump(include=_SELECTS),
                    **uris(pipeline.registry, loaded.home),
                    models=models or Places.of(loaded).state.models,
                )
            except NocturneError as error:
                answer = error
        if isinstance(answer, NocturneError):
            raise answer
        return answer

    return resolve


def version_now(loaded: Loaded) -> int:
    """The version that the pipeline's alias or tags select now.

    Raises:
        ModelError: there is no such version.
        RegistryUnavailable: the server did not answer.
    """
    pipeline = loaded.pipeline
    return registry.version_of(
        **pipeline.model.model_dump(include={"name", "alias", "tags"}),
        **uris(pipeline.registry, loaded.home),
    )
