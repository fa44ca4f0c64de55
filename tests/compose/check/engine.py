"""Calls of Docker and Compose."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

__all__ = ["Refused", "build", "compose_program", "docker", "inspected", "missing", "run"]


class Refused(Exception):
    """A command failed; the message has its output."""


def missing() -> str | None:
    """What there is not of an engine and Compose, in words; None if both are there."""
    if shutil.which("docker") is None:
        return "no docker is installed"
    if compose_program() is None:
        return "no Docker Compose is installed"
    done = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"no Docker engine answers: {done.stderr.strip()}"


def compose_program() -> list[str] | None:
    """``docker compose`` or ``docker-compose``, whichever is installed."""
    if shutil.which("docker"):
        probe = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
        if probe.returncode == 0:
            return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


def run(
    command: list[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: IO[bytes] | None = None,
    cwd: Path | None = None,
) -> str:
    """What a command prints.

    Args:
        env: all of its environment. Default: this process's.

    Raises:
        Refused: it failed; the message has both its streams.
    """
    done = subprocess.run(
        command,
        env=dict(os.environ if env is None else env),
        cwd=cwd,
        stdin=stdin or subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    output = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        said = output + done.stderr.decode(errors="replace")
        raise Refused(f"{' '.join(command)} ended with {done.returncode}:\n{said[-6000:]}")
    return output


def docker(*words: str) -> str:
    return run(["docker", *words])


def inspected(kind: str, *names: str) -> list[dict[str, Any]]:
    """Docker's description of images, containers or volumes."""
    return list(json.loads(docker(kind, "inspect", *names))) if names else []


def build(tag: str, context: Path, *options: str) -> None:
    """Build an image from a folder, or from an archive of one.

    By the old builder, which sees the images of this engine, with the host's network: a container's
    own reaches no registry on every machine.
    """
    command = ["docker", "build", "--network", "host", "--tag", tag, *options]
    env = {**os.environ, "DOCKER_BUILDKIT": "0"}
    if context.is_dir():
        run([*command, str(context)], env=env)
    else:
        with context.open("rb") as archive:
            run([*command, "-"], env=env, stdin=archive)
