"""docker-compose.airflow.yml with its variables filled in, as Compose fills them in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

__all__ = ["FILE", "ROOT", "made_secrets", "make_secrets", "rendered"]

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.airflow.yml"
_VARIABLE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<name>\w+)(?::(?P<how>[-?])(?P<text>[^}]*))?\})")


def rendered(values: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The services, all profiles included.

    Args:
        values: what .env says.

    Raises:
        LookupError: a required variable is missing; its message is the file's.
    """
    return dict(_filled(yaml.safe_load(FILE.read_text(encoding="utf-8")), values)["services"])


def made_secrets(folder: Path) -> dict[str, str]:
    """What ``make secrets`` puts into a new .env, which stays in the folder."""
    shutil.copy(ROOT / ".env.example", folder)
    make_secrets(folder).check_returncode()
    return dict(re.findall(r"^(\w+)=(.*)$", (folder / ".env").read_text(), re.MULTILINE))


def make_secrets(folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """``make secrets`` in a folder that holds .env.example."""
    return subprocess.run(
        ["make", "--file", ROOT / "Makefile", "secrets"],
        cwd=folder,
        env=os.environ | env,
        capture_output=True,
        text=True,
        check=False,
    )


def _filled(part: Any, values: Mapping[str, str]) -> Any:
    if isinstance(part, dict):
        return {key: _filled(value, values) for key, value in part.items()}
    if isinstance(part, list):
        return [_filled(value, values) for value in part]
    if not isinstance(part, str):
        return part

    def value(found: re.Match[str]) -> str:
        if found["dollar"]:
            return "$"
        given = values.get(found["name"], "")
        if not given and found["how"] == "?":
            raise LookupError(found["text"])
        return given or found["text"] or ""

    return _VARIABLE.sub(value, part)
