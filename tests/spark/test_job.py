"""How splits are shared out to Spark's tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from nocturne.spark.job import shares
from nocturne.store.run import Run


@pytest.mark.parametrize(
    ("rows", "cores", "sizes"),
    [
        ([1] * 24, 2, [6, 5, 3, 3, 2, 1, 1, 1, 1, 1]),  # half a core's share of what is left
        ([1] * 4, 2, [1, 1, 1, 1]),
        ([1, 1, 1, 9], 2, [1, 1, 1, 1]),  # a big split is not followed by small ones
        ([7], 16, [1]),
        ([1] * 5, 16, [1] * 5),  # never a core without work while there is some
        ([], 2, []),
    ],
)
def test_tasks_get_shorter_towards_the_end(
    rows: list[int], cores: int, sizes: list[int], make_run: Callable[..., Run]
) -> None:
    run = make_run()
    pending = [(run, replace(run.plan.splits[0], index=i, rows=n)) for i, n in enumerate(rows)]

    tasks = shares(pending, cores)

    assert [len(task) for task in tasks] == sizes
    items = [item for task in tasks for item in task]
    assert sorted(items) == [(run.uri, index) for index in range(len(rows))]
    assert items[:1] == [(run.uri, rows.index(max(rows)))] if rows else True
