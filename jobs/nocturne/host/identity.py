"""Which Nocturne this is: two installations of one version may still differ in their code."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

__all__ = ["AIRFLOWS", "code"]

AIRFLOWS = "nocturne in airflow"
"""The key of Airflow's ``code()`` in what it says of itself."""


@cache
def code() -> str:
    """Version and digest of this installation's Python files: ``0.1.0+1f2e3d4c``."""
    root = Path(__file__).parents[1]
    hasher = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        hasher.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return f"{version('nocturne')}+{hasher.hexdigest()[:8]}"
