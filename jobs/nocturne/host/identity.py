"""Who runs what: the user, and the installed Nocturne, whose code may differ within a version."""

from __future__ import annotations

import getpass
import hashlib
import os
from functools import cache
from importlib.metadata import version
from pathlib import Path

__all__ = ["AIRFLOW_CODE", "AIRFLOW_PAGE", "ASKED_BY", "code", "login"]

AIRFLOW_CODE = "nocturne in airflow"
"""The key of the ``code()`` on Airflow's side in the versions that it reports."""
ASKED_BY = "asked by"
"""The key of who triggered the run, in what Airflow reports."""
AIRFLOW_PAGE = "page"
"""The key of the URL of the night's page in Airflow, in what Airflow reports; it is no version."""


def login() -> str:
    """The name of the user who runs this."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the user of a container may have no name
        return f"uid {os.getuid()}"


@cache
def code() -> str:
    """The version and the digest of this installation's Python files: ``0.1.0+1f2e3d4c``."""
    root = Path(__file__).parents[1]
    hasher = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        hasher.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return f"{version('nocturne')}+{hasher.hexdigest()[:8]}"
