"""Builds the images of ours from the Dockerfile, on the stand-ins."""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compose.check.engine import build, docker, inspected
from compose.rendering import ROOT

__all__ = ["CODE", "build_all", "rebuild", "sizes"]

STAGES = ("object-store", "java", "packages", "torch", "code", "runtime", "tools", "development")
"""In the Dockerfile's order. Without a tag they would go with the next `docker image prune`."""
CODE = "jobs/nocturne/errors.py"
"""A file of ours; a change of it should cost seconds."""


def build_all(folder: Path, bases: Mapping[str, str]) -> tuple[dict[str, str], dict[str, float]]:
    """Stage -> image, and the seconds that each took."""
    archive = folder / "context.tar"
    context(archive)
    made = {stage: f"nocturne-check/{stage}" for stage in STAGES}
    seconds = {stage: _timed(tag, stage, archive, bases) for stage, tag in made.items()}
    archive.unlink()
    return made, seconds


def rebuild(folder: Path, bases: Mapping[str, str]) -> float:
    """The seconds of another build after a change of our code; its image is removed again."""
    archive, tag = folder / "context.tar", "nocturne-check/changed"
    context(archive, {CODE: f"# {time.time()}\n".encode()})
    seconds = _timed(tag, "runtime", archive, bases)
    docker("rmi", tag)
    archive.unlink()
    return seconds


def context(archive: Path, changed: Mapping[str, bytes] = {}) -> None:
    """The build's context: what .dockerignore lets in, and the wheels that pip finds on this disk.

    Args:
        changed: file -> what is added to its end.
    """
    let_in = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    places = [line[1:] for line in let_in if line.startswith("!")]

    def own(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        return None if "__pycache__" in entry.name or entry.name in changed else entry

    # Without .dockerignore: the old builder would apply it once more, and fail.
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
        for place in ["Dockerfile", *places]:
            if (ROOT / place).exists() and place != "wheels":
                tar.add(ROOT / place, place, filter=own)
        for wheel in _wheels():
            tar.add(wheel, f"wheels/{wheel.name}")
        for name, end in changed.items():
            data = (ROOT / name).read_bytes() + end
            entry = tar.gettarinfo(ROOT / name, name)
            entry.size, entry.mtime = len(data), int(time.time())
            tar.addfile(entry, io.BytesIO(data))


def sizes(image: str) -> dict[str, Any]:
    """The image's size and its layers' in MB, the base's first; those below one MB are left out."""
    (described,) = inspected("image", image)
    history = docker("history", "--human=false", "--format", "{{.Size}}", image).split()
    layers = [round(int(size) / 1e6) for size in reversed(history) if int(size) >= 1e6]
    return {"mb": round(described["Size"] / 1e6), "layers_mb": layers}


def _timed(tag: str, target: str, archive: Path, bases: Mapping[str, str]) -> float:
    began = time.monotonic()
    arguments = {"PYTHON_IMAGE": bases["python"], "GARAGE_IMAGE": bases["garage"]}
    words = [
        word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")
    ]
    build(tag, archive, "--target", target, *words)
    return time.monotonic() - began


def _wheels() -> list[Path]:
    asked = ["python3", "-m", "pip", "config", "get"]
    found = os.environ.get("PIP_FIND_LINKS", "")
    if not found:
        done = subprocess.run(
            [*asked, "global.find-links"], capture_output=True, text=True, check=False
        )
        found = done.stdout
    folders = [Path(word) for word in shlex.split(found)]
    return sorted(wheel for folder in folders for wheel in folder.glob("torch-*.whl"))
