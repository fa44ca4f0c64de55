"""The demo's project, made once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.project import made
from nocturne.demo.flights import Prepared, prepare


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory)


@pytest.fixture(scope="session")
def prepared(demo: Path) -> Prepared:
    return prepare(demo / "var" / "demo")
