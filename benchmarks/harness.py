"""Rounds of runs: each contender scores the small and the large size, then the next one does.

Before the rounds every contender runs once, untimed: its answer must be right, and whatever is
made once (caches, archives, bytecode) is made. Answers are checked after each timed run too.
The order is reversed in every other round.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import journal, project, reference
from benchmarks.contenders import CONTENDERS
from benchmarks.details import details
from benchmarks.environments import child_environment, python, python_home
from benchmarks.journal import Run
from benchmarks.layout import ROOT, Layout
from benchmarks.timing import Timing, timed, warm
from benchmarks.workloads import Workload

__all__ = ["Session"]


@dataclass(frozen=True)
class Session:
    """One workload's benchmark; ``name`` groups its runs in the journal."""

    layout: Layout
    workload: Workload
    name: str
    processes: int = 2

    def run(self, contenders: Sequence[str], rounds: int) -> None:
        """All rounds; those that the journal has of this session are not run again."""
        done = {
            (run["contender"], run["round"], run["rows"])
            for run in journal.read(self.layout.runs, self.name)
            if run["ok"] and run["workload"] == self.workload.name
        }
        right = []
        for contender in contenders:
            wanted = {
                (contender, r, self.workload.rows(f))
                for r in range(1, rounds + 1)
                for f in self.workload.sizes
            }
            if wanted <= done or self.once(contender, 0, self.workload.sizes[0]):
                right.append(contender)
        for number in range(1, rounds + 1):
            for contender in right if number % 2 else reversed(right):
                for files in self.workload.sizes:
                    if (contender, number, self.workload.rows(files)) not in done:
                        self.once(contender, number, files)

    def once(self, contender: str, number: int, files: int) -> bool:
        """One run, checked and written down; round 0 is the untimed one. True: it was right."""
        output = self.layout.output(self.workload.name, contender)
        if contender.startswith("nocturne"):
            project.clear(output)
        else:
            shutil.rmtree(output, ignore_errors=True)
        output.parent.mkdir(parents=True, exist_ok=True)
        os.sync()  # the run before must not be written to disk in this one's time
        warm(
            self.layout.partition(self.workload, files),
            python_home(self.layout, CONTENDERS[contender].environment),
        )
        log = self.layout.base / "logs" / self.name / f"{contender}-{number}-{files}.log"
        started = time.time()
        timing = self._timed(contender, files, log)
        problem = "" if timing.returncode == 0 else f"exit code {timing.returncode}, see {log}"
        if not problem:
            try:
                wanted = reference.expected(self.layout, self.workload, files)
                reference.compare(output, wanted)
            except Exception as wrong:  # an unreadable file is a wrong answer too
                problem = f"{type(wrong).__name__}: {wrong}"
        run = Run(
            session=self.name,
            workload=self.workload.name,
            standard=self.workload.standard,
            contender=contender,
            round=number,
            rows=self.workload.rows(files),
            timing=timing,
            problem=problem,
            details=details(output, started) if contender.startswith("nocturne") else {},
        )
        journal.add(self.layout.runs, run.as_json())
        print(run.line(), flush=True)
        return not problem

    def _timed(self, contender: str, files: int, log: Path) -> Timing:
        chosen = CONTENDERS[contender]
        command = [
            python(self.layout, chosen.environment),
            *("-m", f"benchmarks.contenders.{chosen.module}"),
            *("--input", str(self.layout.partition(self.workload, files))),
            *("--output", str(self.layout.output(self.workload.name, contender))),
            *("--model", str(self.layout.model(self.workload.name))),
            *("--table", self.workload.table),
            *("--processes", str(self.processes)),
        ]
        environment = child_environment(dict(os.environ), ROOT)
        return timed(
            command,
            environment,
            log=log,
            worker=chosen.worker,
            processes=self.processes,
            cwd=self.layout.base,
        )
