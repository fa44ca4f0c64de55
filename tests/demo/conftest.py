"""The demo's tables, prepared once for all tests of the demo (seconds)."""

from __future__ import annotations

import pytest

from nocturne.demo.flights import Prepared, prepare


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tmp_path_factory.mktemp("demo"))
