"""Spark's Python worker daemon, with torch and pyarrow imported before it forks.

Workers then start in milliseconds instead of seconds (``spark.python.daemon.module``).
"""

from __future__ import annotations

import gc
import os
from importlib import import_module

os.environ.setdefault("OMP_NUM_THREADS", "1")

_LATE = ("pydantic", "pyspark.worker")
"""Imported by functions, so by every worker anew."""


def warm() -> None:
    """Import what a split needs. No model is loaded and no thread started: workers are forked."""
    gc.disable()  # there is no garbage in imports, and looking for it takes a tenth of the time
    import nocturne.spark.job
    import nocturne.split  # noqa: F401  the engine, torch and pyarrow with it

    for name in _LATE:
        import_module(name)
    gc.freeze()  # pages that no collection touches stay shared with the workers
    gc.enable()


if __name__ == "__main__":
    warm()
    from pyspark.daemon import manager

    manager()
