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

__all__ = ["FILE", "ROOT", "dockerfile", "made_secrets", "make_secrets", "rendered"]

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


def dockerfile(target: str) -> list[list[str]]:
    """The instructions of one stage of the Dockerfile, as words."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    begin = next(n for n, line in enumerate(lines) if line.endswith(f" AS {target}"))
    end = next((n for n in range(begin + 1, len(lines)) if lines[n][:5] == "FROM "), len(lines))
    return [line.split() for line in lines[begin:end] if line.strip()]


def made_secrets(folder: Path) -> Path:
    """The folder of secrets that ``make secrets`` makes in this one, beside .env."""
    shutil.copy(ROOT / ".env.example", folder)
    make_secrets(folder).check_returncode()
    return folder / "secrets"


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
