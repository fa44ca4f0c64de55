"""Fixtures of the tests that need an object store; their files import what they use."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from object_store import Bucket, serving

__all__ = ["bucket", "store_endpoint"]


@pytest.fixture(scope="session")
def store_endpoint() -> Iterator[str]:
    with serving() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(
    store_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bucket]:
    """An empty bucket, which processes of this test reach by their environment."""
    made = Bucket(f"b-{uuid.uuid4().hex[:12]}", store_endpoint)
    made.fail()
    made.client.create_bucket(Bucket=made.name)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield made
    made.fail()
