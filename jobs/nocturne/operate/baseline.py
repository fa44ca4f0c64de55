"""Summarizes a baseline, with which nights are compared."""

from __future__ import annotations

from typing import Any

from nocturne import drift
from nocturne.records.drift import Baseline

__all__ = ["baseline_rows"]


def baseline_rows(baseline: Baseline) -> list[dict[str, Any]]:
    """One row for each column of a baseline: rows, partitions, bins, PSI of ordinary days."""
    rows = []
    for name, column in baseline.columns.items():
        keys = sorted(column.partitions)
        rows.append(
            {
                "column": name,
                "kind": column.kind,
                "output": name in baseline.outputs,
                "importance": baseline.importance.get(name),
                "rows": sum(column.counts),
                "nulls": column.counts[-1],
                "bins": sum(count > 0 for count in column.counts),
                "partitions": len(keys),
                "first": keys[0] if keys else None,
                "last": keys[-1] if keys else None,
                "ordinary_psi": drift.ordinary_psi(column),
            }
        )
    return rows
