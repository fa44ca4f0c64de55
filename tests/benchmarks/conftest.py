"""A workload of a few thousand rows, prepared once."""

from __future__ import annotations

import pytest

from benchmarks.layout import Layout
from benchmarks.prepare import prepare
from benchmarks.workloads import Workload


@pytest.fixture(scope="session")
def small() -> Workload:
    """Two files of 3,000 rows, scored by one process."""
    return Workload("light", (16, 8), 3000, (1, 2))


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory, small: Workload) -> Layout:
    """Data, models, a project and references for it."""
    layout = Layout(tmp_path_factory.mktemp("bench"))
    prepare(layout, small, 1)
    return layout
