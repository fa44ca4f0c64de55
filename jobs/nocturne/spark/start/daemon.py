"""Spark's Python worker daemon, with all imports of a split made before it forks
(``spark.python.daemon.module``)."""

from __future__ import annotations

from nocturne.worker.warm import warm

LATE = ("nocturne.spark.job", "pyspark.worker")

if __name__ == "__main__":
    warm(LATE)
    from pyspark.daemon import manager

    manager()
