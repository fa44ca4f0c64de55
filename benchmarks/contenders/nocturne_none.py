"""Ours, without Spark: ``spark.master: none``."""

from __future__ import annotations

from benchmarks.contenders.nocturne_cli import main

if __name__ == "__main__":
    main("_none")
