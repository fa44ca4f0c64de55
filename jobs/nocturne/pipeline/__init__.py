"""The steps of a night on the driver. Each step can be repeated on the same run directory.

prepare (resolve, plan) -> score -> judge (check, drift, report) -> gate -> publish
"""

from nocturne.pipeline.prepare import Prepared, prepare, ready
from nocturne.pipeline.runs import open_run

__all__ = ["Prepared", "open_run", "prepare", "ready"]
