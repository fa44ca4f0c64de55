"""Spark's Python worker daemon, with torch and pyarrow imported before it forks.

Workers then start in milliseconds instead of seconds (``spark.python.daemon.module``).
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import nocturne.split  # noqa: F401  the engine, torch and pyarrow with it

if __name__ == "__main__":
    from pyspark.daemon import manager

    manager()
