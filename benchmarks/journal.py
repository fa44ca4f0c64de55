"""Every run is written down at once, so that an interrupted benchmark loses nothing."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import commit
from benchmarks.timing import Timing

__all__ = ["Run", "add", "last_session", "read"]


@dataclass(frozen=True)
class Run:
    """One timed run. Round 0 is the one that warms up; ``problem`` is "" if it was right."""

    session: str
    workload: str
    standard: bool
    contender: str
    round: int
    rows: int
    timing: Timing
    problem: str
    details: Mapping[str, float]

    def as_json(self) -> dict[str, Any]:
        at = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        own = {k: v for k, v in self.__dict__.items() if k not in ("timing", "details")}
        return {
            **own,
            "ok": not self.problem,
            **self.timing.__dict__,
            **self.details,
            "at": at,
            "commit": commit(),
        }

    def line(self) -> str:
        """For the terminal."""
        what = f"round {self.round}" if self.round else "warm-up"
        said = f"{self.timing.seconds:7.2f} s {self.timing.worker_mb:6.0f} MB"
        more = "".join(f"  {name} {value:g}" for name, value in self.details.items())
        return (
            f"{self.workload:7} {what:8} {self.contender:17} {self.rows:>10,} rows "
            f"{self.problem or said + more}"
        )


def add(path: Path, run: dict[str, Any]) -> None:
    """One JSON line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(run) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read(path: Path, session: str | None = None) -> list[dict[str, Any]]:
    """The runs of a session, or all; a line that was cut short is left out."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            run = json.loads(line)
        except ValueError:
            continue
        if session is None or run["session"] == session:
            found.append(run)
    return found


def last_session(path: Path, workload: str) -> str | None:
    """The session that last ran this workload."""
    found = [run["session"] for run in read(path) if run["workload"] == workload]
    return found[-1] if found else None
