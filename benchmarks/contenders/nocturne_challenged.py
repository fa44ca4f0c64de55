"""Ours, without Spark, with the same model once more as a challenger."""

from __future__ import annotations

from benchmarks.contenders.nocturne_cli import main

if __name__ == "__main__":
    main("_challenged")
