"""What a night's own files say beside its wall time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["details"]


def details(table: Path, started: float) -> dict[str, float]:
    """Read from the state beside a Nocturne table; what is not found is left out.

    Args:
        started: when the command was started, seconds since 1970.

    Returns:
        ``first_split_s``: from then until a worker took up its first split; ``check_s``:
        expectations with their Data Docs, and ``report_s``: the HTML reports, of all nights.
    """
    state = table.parent / "_nocturne" / table.name
    first = [r["started"] for r in _json(state, "ds=*/runs/*/results/*.json") if "started" in r]
    seconds = [j.get("seconds", {}) for j in _json(state, "ds=*/runs/*/judgement.json")]
    found = {"first_split_s": round(min(first) - started, 2)} if first else {}
    for name, parts in (("check", ("check",)), ("report", ("report",))):
        told = [[s[part] for part in parts if part in s] for s in seconds]
        if told and all(told):
            found[f"{name}_s"] = round(sum(map(sum, told)), 2)
    return found


def _json(folder: Path, pattern: str) -> Iterator[Any]:
    for path in folder.glob(pattern):
        with suppress(ValueError, OSError):
            yield json.loads(path.read_text(encoding="utf-8"))
