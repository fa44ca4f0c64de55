"""The Nocturne project of the timed runs: the repository's own settings, and a pipeline a model."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from benchmarks.layout import ROOT, Layout
from benchmarks.workloads import Workload

__all__ = ["clear", "write"]

KEPT = ("models", "tuning")
"""In the state: made once a model, so not part of a night."""


def write(layout: Layout, workload: Workload, processes: int) -> None:
    """conf/ with the pipelines ``bench_<workload>`` and ``bench_<workload>_delta``.

    All checks are on; there are no expectation suites.
    """
    conf = layout.project / "conf"
    for name in ("base.yaml", "env/local.yaml", "spark/log4j2.properties"):
        (conf / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / "conf" / name, conf / name)
    name = f"bench_{workload.name}"
    pipeline: dict[str, Any] = {
        "name": name,
        "model": {"name": name, "alias": "champion"},
        "input": {"path": str(layout.table(workload.file_rows)), "partition": {"ds": "%Y-%m-%d"}},
        "output": {
            "path": str(layout.output(workload.name, "nocturne")),
            "keys": ["id"],
            "passthrough": ["category"],
        },
        "spark": {"master": f"local[{processes}]"},
    }
    folder = conf / "pipelines"
    folder.mkdir(parents=True, exist_ok=True)
    into_delta = {"path": str(layout.output(workload.name, "nocturne_delta")), "format": "delta"}
    delta = {**pipeline, "name": f"{name}_delta", "output": pipeline["output"] | into_delta}
    for one in (pipeline, delta):
        text = yaml.safe_dump(one, sort_keys=False)
        (folder / f"{one['name']}.yaml").write_text(text, encoding="utf-8")


def clear(table: Path) -> None:
    """Forget what was published there, so that the next run scores; models stay."""
    shutil.rmtree(table, ignore_errors=True)
    state = table.parent / "_nocturne" / table.name
    for path in state.iterdir() if state.is_dir() else ():
        if path.is_dir() and path.name not in KEPT:
            shutil.rmtree(path)
