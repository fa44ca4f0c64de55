"""``python -m benchmarks.start``: from the command to the first scored row, phase by phase.

Each run is a fresh process that scores one small day of the demo's flights; all but the first
find the JVM's archive, the model's pinned copy and its tuning, as every night but the first does.
Phases overlap (the JVM comes up while the registry is asked), so each figure is the time since the
command was started. ``elsewhere`` is what other processes used of the machine meanwhile, in cores:
runs beside a busy neighbour say little.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from benchmarks import project
from benchmarks.layout import ROOT, Layout
from benchmarks.timing import warm

PIPELINE, DAY = "flight_delay", "2013-04-01"
PHASES = (
    "imported",
    "prepared",
    "jvm up",
    "context up",
    "job submitted",
    "first split started",
    "first split scored",
    "published",
    "cpu seconds",
    "elsewhere",
)
_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER: the JVM outlives its parent, and its processor time counts too."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        _child(args.child)
        return
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    home = _home(Layout())
    _run(home)  # makes what is made once
    runs = []
    for number in range(1, args.runs + 1):
        warm(Path(sys.prefix))
        runs.append(_run(home))
        print(
            f"run {number}: " + ", ".join(f"{n} {s:.2f}" for n, s in runs[-1].items()), flush=True
        )
    print("\n| seconds since the command | median | least to most |\n|---|---|---|")
    for name in PHASES:
        found = [run[name] for run in runs if name in run]
        if found:
            print(f"| {name} | {median(found):.2f} | {min(found):.2f} to {max(found):.2f} |")


def _home(layout: Layout) -> Path:
    """A project with the demo's data and model, and an output of its own."""
    home = layout.base / "start"
    demo = {**os.environ, "NOCTURNE_HOME": str(ROOT)}
    subprocess.run([sys.executable, "-m", "nocturne.demo", "prepare"], env=demo, check=True)
    shutil.copytree(ROOT / "conf", home / "conf", dirs_exist_ok=True)
    registry = home / "var" / "mlflow" / "mlflow.db"
    registry.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / "var" / "mlflow" / "mlflow.db", registry)  # the artifacts stay there
    path = home / "conf" / "pipelines" / f"{PIPELINE}.yaml"
    pipeline = yaml.safe_load(path.read_text(encoding="utf-8"))
    pipeline["input"]["path"] = str(ROOT / pipeline["input"]["path"])
    pipeline["output"]["path"] = "scores"
    pipeline["registry"] = {"experiment": "benchmarks/start"}
    path.write_text(yaml.safe_dump(pipeline, sort_keys=False), encoding="utf-8")
    return home


def _run(home: Path) -> dict[str, float]:
    project.clear(home / "scores")
    log = home / "phases.json"
    before, busy, started = _used(), _busy(), time.time()
    command = [sys.executable, "-m", "benchmarks.start", "--child", str(log)]
    environment = {**os.environ, "NOCTURNE_HOME": str(home)}
    subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    ended = time.time()
    with suppress(ChildProcessError):
        while True:
            os.wait()
    cpu, seconds = _used() - before, time.time() - started
    found = {name: moment - started for name, moment in json.loads(log.read_text()).items()}
    splits = [json.loads(path.read_text()) for path in home.glob("_nocturne/**/results/*.json")]
    found["first split started"] = min(s["started"] for s in splits) - started
    found["first split scored"] = min(s["finished"] for s in splits) - started
    found["published"] = ended - started
    return {**found, "cpu seconds": cpu, "elsewhere": (_busy() - busy - cpu) / seconds}


def _used() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def _busy() -> float:
    """Processor seconds that all processes have used since the machine was started."""
    fields = [int(x) for x in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return sum(fields[:3] + fields[5:7]) / os.sysconf("SC_CLK_TCK")


def _child(log: Path) -> None:
    """The command, with a note of when each phase was reached."""
    reached: dict[str, float] = {}

    def noted(owner: Any, name: str, phase: str, *, after: bool = True) -> None:
        whole: Callable[..., Any] = getattr(owner, name)

        def told(*args: Any, **kwargs: Any) -> Any:
            if not after:
                reached.setdefault(phase, time.time())
            result = whole(*args, **kwargs)
            if after:
                reached.setdefault(phase, time.time())
            return result

        setattr(owner, name, told)

    import pyspark.core.context

    from nocturne import cli
    from nocturne.pipeline import night
    from nocturne.spark import application, job

    noted(night, "score_range", "imported", after=False)
    noted(night, "_prepare", "prepared")
    noted(pyspark.core.context, "launch_gateway", "jvm up")
    noted(application.Application, "_new", "context up")
    noted(job, "_collect", "job submitted", after=False)
    try:
        cli.app(["score", PIPELINE, "--date", DAY], standalone_mode=False)
    finally:
        log.write_text(json.dumps(reached))


if __name__ == "__main__":
    main()
