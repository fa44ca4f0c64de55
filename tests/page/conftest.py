"""The page on the projects of the pipeline's tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from page_client import page_client
from pipeline.conftest import project, registry

__all__ = ["client", "project", "registry"]


@pytest.fixture(scope="session")
def client() -> Iterator[Any]:
    with page_client() as (client, _):
        yield client
