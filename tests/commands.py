"""Commands in a process of their own: the tests' process must be able to fork."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

__all__ = ["done", "nocturne"]

_HIDDEN = ("SPARK_CONF_DIR", "PYSPARK_GATEWAY_PORT", "PYSPARK_GATEWAY_SECRET")


def done(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What became of a command."""
    kept = {name: value for name, value in os.environ.items() if name not in _HIDDEN}
    return subprocess.run(
        [sys.executable, "-m", "nocturne.cli", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**kept, **environment},
    )


def nocturne(*words: str) -> Any:
    """The answer of a command, which succeeds."""
    finished = done(*words, "--json")
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])
