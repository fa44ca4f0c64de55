"""The Nocturne project of the timed runs: the repository's own settings, and a pipeline a model."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from benchmarks.layout import ROOT, Layout
from benchmarks.workloads import Workload

__all__ = ["clear", "write"]

KEPT = ("models", "tuning")
"""In the state: made once a model, so not part of a night."""


def write(layout: Layout, workload: Workload, processes: int) -> None:
    """conf/ with the pipeline ``bench_<workload>``: all checks on, no expectation suites."""
    conf = layout.project / "conf"
    for name in ("base.yaml", "env/local.yaml", "spark/log4j2.properties"):
        (conf / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / "conf" / name, conf / name)
    name = f"bench_{workload.name}"
    pipeline = {
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
    path = conf / "pipelines" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(pipeline, sort_keys=False), encoding="utf-8")


def clear(table: Path) -> None:
    """Forget what was published there, so that the next run scores; models stay."""
    shutil.rmtree(table, ignore_errors=True)
    state = table.parent / "_nocturne" / table.name
    for path in state.iterdir() if state.is_dir() else ():
        if path.is_dir() and path.name not in KEPT:
            shutil.rmtree(path)
