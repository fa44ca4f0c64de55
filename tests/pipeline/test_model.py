"""A range has one model, resolved once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nocturne import config
from nocturne.errors import ModelError
from nocturne.model import registry
from nocturne.model.tracking import connect, tracking_uri
from nocturne.pipeline.model import resolver, version_now

Project = Callable[..., config.Loaded]


def test_the_registry_is_asked_once(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = resolver(project())
    first = resolve()
    monkeypatch.setattr(registry, "resolve", lambda **_: pytest.fail("asked again"))
    assert resolve() is first
    assert first is resolve()
    assert first.declared is resolve().declared


def test_an_error_is_an_answer_too(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def refuse(**wanted: Any) -> None:
        asked.append(wanted)
        raise ModelError("no such model")

    monkeypatch.setattr(registry, "resolve", refuse)
    resolve = resolver(project())
    for _ in range(3):
        with pytest.raises(ModelError, match="no such model"):
            resolve()
    assert len(asked) == 1


def test_what_an_alias_means_now(project: Project) -> None:
    loaded = project()
    assert version_now(loaded) == 1
    client = connect(tracking_uri(loaded.pipeline.registry.tracking_uri, loaded.home))
    first = client.get_model_version("small", "1")
    second = client.create_model_version("small", first.source, first.run_id)
    assert version_now(loaded) == 1
    client.set_registered_model_alias("small", "champion", second.version)
    assert version_now(loaded) == 2
    client.delete_registered_model_alias("small", "champion")
    with pytest.raises(ModelError, match="has no alias 'champion'"):
        version_now(loaded)
