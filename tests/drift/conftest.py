"""Profiles counted by the real profiler, from columns of numbers and texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pytest

from nocturne.profile import TableProfiler
from nocturne.records.profile import Profile


@pytest.fixture
def profiled() -> Callable[..., Profile]:
    """``profiled(x=[1.0], carrier=["AA"], centers={"x": 2})``; the centre is 0 if not given."""

    def profile(centers: Mapping[str, float] | None = None, **columns: Sequence[Any]) -> Profile:
        batch = pa.RecordBatch.from_pydict(columns)
        kinds: dict[str, float | None] = {
            field.name: None if field.type == pa.string() else (centers or {}).get(field.name, 0.0)
            for field in batch.schema
        }
        profiler = TableProfiler(kinds)
        profiler.update(batch)
        return profiler.result()

    return profile
