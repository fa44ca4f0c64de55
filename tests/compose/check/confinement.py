"""What a reviewer asks of running containers: no root, no capability, no secret to be read."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from compose.check.engine import Refused, docker
from compose.check.stack import PROJECT, Stack

__all__ = ["check"]

TOLD = {
    "garage": {"garage_rpc_secret", "s3_key"},
    "mlflow": {"mlflow_session_key"},
    "redis": {"redis_password"},
}
"""What programs take from their environment only; for Redis, that of the health check."""


def check(stack: Stack) -> int:
    """Look at every container of the stack; how many they were.

    Raises:
        Refused: what is wrong, all of it.
    """
    values = _secret_values(stack.folder / "secrets")
    containers = stack.containers()
    wrong = []
    for container in containers:
        name = container["Name"].lstrip("/")
        wrong += [f"{name}: {what}" for what in (*_settings(container), *_told(container, values))]
        if container["State"]["Running"]:
            wrong += [f"{name}: {what}" for what in _processes(container["Id"])]
            service = container["Config"]["Labels"]["com.docker.compose.service"]
            hidden = {n: v for n, v in values.items() if n not in TOLD.get(service, ())}
            wrong += [f"{name}: {what}" for what in _words(container["Id"], values, hidden)]
    for image in {container["Image"] for container in containers}:
        history = docker("history", "--no-trunc", image)
        wrong += [f"{image}: its history has {name}" for name, v in values.items() if v in history]
    if wrong:
        raise Refused("\n".join(wrong))
    return len(containers)


def _settings(container: dict[str, Any]) -> list[str]:
    host = container["HostConfig"]
    right = {
        "drops all capabilities": host["CapDrop"] == ["ALL"] and not host["CapAdd"],
        "has no-new-privileges": "no-new-privileges:true" in (host["SecurityOpt"] or []),
        "has a read-only root": host["ReadonlyRootfs"],
        "has a limit of processes": (host["PidsLimit"] or 0) > 0,
        "has a limit of memory": host["Memory"] > 0,
        "swaps nothing": host["MemorySwap"] == host["Memory"],
        "is not privileged": not host["Privileged"],
        "has named volumes only": all(
            mount["Type"] != "volume" or mount["Name"].startswith(f"{PROJECT}_")
            for mount in container["Mounts"]
        ),
        "opens ports to this host only": all(
            place["HostIp"] == "127.0.0.1"
            for places in (host["PortBindings"] or {}).values()
            for place in places
        ),
    }
    return [f"not so: {what}" for what, is_so in right.items() if not is_so]


def _told(container: dict[str, Any], values: dict[str, str]) -> list[str]:
    """Secrets in what Docker tells of a container, or in its output."""
    inspected = json.dumps(container)
    log = subprocess.run(
        ["docker", "logs", container["Id"]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    ).stdout
    return [f"docker inspect shows {name}" for name, v in values.items() if v in inspected] + [
        f"its log shows {name}" for name, v in values.items() if v in log
    ]


def _processes(container: str) -> list[str]:
    """Processes that run as root or with a capability; the kernel's account of each."""
    code = "for p in /proc/[0-9]*; do grep -hE '^(Name|Uid|CapEff|NoNewPrivs):' $p/status; done"
    words = docker("exec", container, "bash", "-c", code).split("Name:")[1:]
    wrong = []
    for text in words:
        name, *lines = text.strip().splitlines()
        said = dict(line.split(":", 1) for line in lines)
        if (
            "0" in said["Uid"].split()
            or int(said["CapEff"], 16)
            or said["NoNewPrivs"].strip() != "1"
        ):
            wrong.append(f"process {name}: {said}")
    return wrong


def _words(container: str, values: dict[str, str], hidden: dict[str, str]) -> list[str]:
    """Secrets in the arguments of processes, and hidden ones in their environments."""
    found = []
    for file, secrets in (("cmdline", values), ("environ", hidden)):
        first = f"cat /proc/1/{file} > /dev/null"  # fails if that of the service can't be read
        code = f"{first} && {{ cat /proc/[0-9]*/{file} 2>/dev/null | tr '\\0' '\\n'; }}"
        text = docker("exec", container, "bash", "-c", code)
        found += [f"the {file} of a process has {name}" for name, v in secrets.items() if v in text]
    return found


def _secret_values(folder: Path) -> dict[str, str]:
    """Name -> the longest word of the file: a secret, or the end of a certificate's key."""
    return {
        file.name: max(reversed(file.read_text().split()), key=len)
        for file in sorted(folder.iterdir())
    }
