"""The model of a run, or of a range: its alias is resolved once, whatever number of nights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nocturne.config import Loaded
from nocturne.errors import NocturneError
from nocturne.model import registry
from nocturne.model.tracking import uris
from nocturne.pipeline.places import Places

__all__ = ["Resolve", "resolver", "version_now"]

_SELECTS = {"name", "alias", "tags", "version", "allow_pickle", "inputs", "params"}
"""What of ``model:`` in the YAML decides which version it is, and whether it may be loaded."""

Resolve = Callable[[], registry.Resolved]


def resolver(loaded: Loaded, store: Path | None = None) -> Resolve:
    """A function that resolves the model when it is first called, and then repeats its answer.

    An error is an answer too: the other nights of the range would only wait for the same.

    Args:
        store: where the model's files go. Default: the pipeline's state.
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
                    store=store or Places.of(loaded).state.models,
                )
            except NocturneError as error:
                answer = error
        if isinstance(answer, NocturneError):
            raise answer
        return answer

    return resolve


def version_now(loaded: Loaded) -> int:
    """The version that the pipeline's alias or tags mean now.

    Raises:
        ModelError, RegistryUnavailable: there is none, or the server did not answer.
    """
    pipeline = loaded.pipeline
    return registry.version_of(
        **pipeline.model.model_dump(include={"name", "alias", "tags"}),
        **uris(pipeline.registry, loaded.home),
    )
