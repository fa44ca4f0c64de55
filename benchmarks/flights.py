"""The demo's flights: many small days in one Spark application, each published on its own.

``mlflow.pyfunc.spark_udf`` is no contender here: the model takes two tensors, and MLflow gives
a ``pt2`` model of more than one input no pyfunc flavor.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks import journal, project
from benchmarks.contenders import CONTENDERS
from benchmarks.details import details
from benchmarks.environments import child_environment
from benchmarks.flights_reference import DAYS, PIPELINE, compare, days, make
from benchmarks.layout import ROOT, Layout
from benchmarks.timing import timed, warm

__all__ = ["FlightsSession", "prepare"]


def prepare(layout: Layout, processes: int) -> None:
    """The demo's data and model if they are missing, a project around them, the references."""
    home = {**os.environ, "NOCTURNE_HOME": str(ROOT)}
    subprocess.run([sys.executable, "-m", "nocturne.demo", "prepare"], env=home, check=True)
    conf, home_conf = _home(layout) / "conf", ROOT / "conf"
    shutil.copytree(home_conf, conf, dirs_exist_ok=True)
    registry = _home(layout) / "var" / "mlflow" / "mlflow.db"
    registry.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / "var" / "mlflow" / "mlflow.db", registry)  # the artifacts stay there
    path = conf / "pipelines" / f"{PIPELINE}.yaml"
    pipeline = yaml.safe_load((home_conf / "pipelines" / path.name).read_text(encoding="utf-8"))
    pipeline["input"]["path"] = str(ROOT / pipeline["input"]["path"])
    pipeline["output"]["path"] = str(_output(layout))
    pipeline["spark"] = {"master": f"local[{processes}]"}
    path.write_text(yaml.safe_dump(pipeline, sort_keys=False), encoding="utf-8")
    make(layout, Path(pipeline["input"]["path"]), f"sqlite:///{registry}")


def _home(layout: Layout) -> Path:
    return layout.base / "flights"


def _output(layout: Layout) -> Path:
    return layout.output("flights", "nocturne")


@dataclass(frozen=True)
class FlightsSession:
    """As ``harness.Session``: 1 day and 30 days a round, by ``nocturne score --date --to``."""

    layout: Layout
    name: str
    processes: int = 2
    standard: bool = True

    def run(self, rounds: int) -> None:
        done = {
            (run["round"], run["days"])
            for run in journal.read(self.layout.runs, self.name)
            if run["ok"] and run["workload"] == "flights"
        }
        for number, amount in self._plan(rounds):
            if (number, amount) not in done and not self.once(number, amount) and not number:
                return

    def _plan(self, rounds: int) -> Iterator[tuple[int, int]]:
        yield 0, DAYS[0]
        for number in range(1, rounds + 1):
            for amount in DAYS:
                yield number, amount

    def once(self, number: int, amount: int) -> bool:
        """One run, checked and written down. True: it was right."""
        project.clear(_output(self.layout))
        environment = child_environment(dict(os.environ), ROOT)
        environment["NOCTURNE_HOME"] = str(_home(self.layout))
        span = days(amount)
        command = [
            str(Path(sys.executable).with_name("nocturne")),
            "score",
            PIPELINE,
            "--date",
            span[0],
            "--to",
            span[-1],
        ]
        log = self.layout.base / "logs" / self.name / f"flights-{number}-{amount}.log"
        os.sync()
        warm(Path(sys.prefix), self.layout.base.parent / "demo" / "flights")
        started = time.time()
        timing = timed(
            command,
            environment,
            log=log,
            worker=CONTENDERS["nocturne"].worker,
            processes=self.processes,
            cwd=self.layout.base,
        )
        rows, problem = 0, "" if not timing.returncode else f"exit {timing.returncode}, see {log}"
        try:
            rows = compare(self.layout, _output(self.layout), amount)
        except Exception as wrong:  # an unreadable file is a wrong answer too
            problem = problem or f"{type(wrong).__name__}: {wrong}"
        more = {"days": amount, **details(_output(self.layout), started)}
        run = journal.Run(
            self.name, "flights", self.standard, "nocturne", number, rows, timing, problem, more
        )
        journal.add(self.layout.runs, run.as_json())
        print(run.line(), flush=True)
        return not problem
