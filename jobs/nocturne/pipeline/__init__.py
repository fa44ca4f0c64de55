"""The driver's corridor: runs the rooms in order. Each step is idempotent on the run directory.

prepare (resolve, plan) -> score -> judge (check, drift, report) -> gate -> publish
"""

from nocturne.pipeline.prepare import Prepared, prepare, ready
from nocturne.pipeline.runs import open_run

__all__ = ["Prepared", "open_run", "prepare", "ready"]
