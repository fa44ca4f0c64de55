"""The Nocturne project of the timed runs: the repository's own settings, and a pipeline a model."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from benchmarks.layout import ROOT, Layout
from benchmarks.workloads import Workload

__all__ = ["catalog_of", "clear", "write"]

KEPT = ("models", "trials", "tuning")
"""In the state: made once a model, so not part of a night."""


def write(layout: Layout, workload: Workload, processes: int) -> None:
    """conf/ with the pipelines ``bench_<workload>``, and its ``..._none`` (without Spark),
    ``..._challenged`` (also by the same model as a challenger), ``..._delta`` and ``..._iceberg``.

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
        "input": {"path": str(layout.table(workload)), "partition": {"ds": "%Y-%m-%d"}},
        "output": {
            "path": str(layout.output(workload.name, "nocturne")),
            "keys": ["id"],
            "passthrough": ["category"],
        },
        "spark": {"master": f"local[{processes}]"},
    }
    folder = conf / "pipelines"
    folder.mkdir(parents=True, exist_ok=True)
    lakes: dict[str, dict[str, str]] = {
        "delta": {},
        "iceberg": {"table": f"bench.scores.{workload.name}"},
    }
    for lake, named in lakes.items():
        place = {"path": str(layout.output(workload.name, f"nocturne_{lake}")), "format": lake}
        output = pipeline["output"] | place | named
        _write(folder, {**pipeline, "name": f"{name}_{lake}", "output": output})
    without = {"path": str(layout.output(workload.name, "nocturne_none"))}
    _write(
        folder,
        {
            **pipeline,
            "name": f"{name}_none",
            "output": pipeline["output"] | without,
            "spark": {"master": f"none[{processes}]"},
        },
    )
    beside = {"path": str(layout.output(workload.name, "nocturne_challenged"))}
    challenged = {
        **pipeline,
        "name": f"{name}_challenged",
        "output": pipeline["output"] | beside,
        "spark": {"master": f"none[{processes}]"},
        "challengers": [{"version": 1, "called": "same", "budget": 10.0}],
    }
    _write(folder, challenged)
    _write(folder, pipeline)


def _write(folder: Path, pipeline: dict[str, Any]) -> None:
    text = yaml.safe_dump(pipeline, sort_keys=False)
    (folder / f"{pipeline['name']}.yaml").write_text(text, encoding="utf-8")


def catalog_of(table: Path) -> Path:
    """The database of the catalog in which an Iceberg table has its name."""
    return table.with_name(f"{table.name}.db")


def clear(table: Path) -> None:
    """Forget what was published there, so that the next run scores; models stay."""
    catalog_of(table).unlink(missing_ok=True)
    for one in (table, *table.parent.glob(f"{table.name}__*")):  # those of its challengers too
        shutil.rmtree(one, ignore_errors=True)
        state = table.parent / "_nocturne" / one.name
        for path in state.iterdir() if state.is_dir() else ():
            if path.is_dir() and path.name not in KEPT:
                shutil.rmtree(path)
