"""What is done to the stack while a task runs."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any

from compose.check.engine import Refused, docker
from compose.check.stack import Stack

__all__ = ["FATAL", "Harm", "cut_power", "kill", "kill_its_worker", "kill_scheduler", "starve"]

Harm = Callable[[Stack, dict[str, Any]], None]
"""Called with Airflow's description of the task that runs."""


def kill(service: str) -> Harm:
    """End all processes of one container of a service at once."""

    def harm(stack: Stack, task: dict[str, Any]) -> None:
        stack.kill(stack.containers(service)[0])

    return harm


kill_scheduler = kill("airflow-scheduler")
"""With it, where tasks run in it, all of them."""


def kill_its_worker(stack: Stack, task: dict[str, Any]) -> None:
    """End all processes of the Celery worker that runs the task, and say which one it was."""
    workers = {c["Config"]["Hostname"]: c for c in stack.containers("airflow-worker")}
    if task["hostname"] not in workers:
        raise Refused(f"the task runs on {task['hostname']!r}, the workers are {sorted(workers)}")
    stack.kill(workers[task["hostname"]])


def cut_power(stack: Stack, task: dict[str, Any]) -> None:
    """End every process of every container; start them again as an engine does when it boots.

    That is all at once, in no order: an engine knows the restart policies, not `depends_on`.
    """
    on = [c["Id"] for c in stack.containers() if c["State"]["Running"]]
    docker("kill", *on)
    killed = [subprocess.Popen(["docker", "start", one], stdout=subprocess.DEVNULL) for one in on]
    if any(program.wait() for program in killed):
        raise Refused("a container did not start again")


def starve(stack: Stack, task: dict[str, Any]) -> None:
    """Leave the Spark workers the memory that they have now, until the kernel ended a process."""
    before = {c["Id"]: c["HostConfig"]["Memory"] for c in stack.containers("spark-worker")}
    workers = list(before)
    began = int(time.time())
    for one in workers:
        _limit(one, int(docker("exec", one, "bash", "-c", _USED)))
    try:
        deadline = time.monotonic() + 120
        while not _starved(workers, began):
            if time.monotonic() > deadline:
                raise Refused("no Spark worker ran out of memory within 120 s")
            time.sleep(0.5)
    finally:
        for one in workers:
            _limit(one, before[one])


FATAL = (kill_scheduler, kill_its_worker, cut_power)
"""What a task does not survive."""
_USED = "cd /sys/fs/cgroup; cat memory/memory.usage_in_bytes 2> /dev/null || cat memory.current"


def _limit(container: str, size: int) -> None:
    docker("update", "--memory", str(size), "--memory-swap", str(size), container)


def _starved(containers: list[str], began: int) -> bool:
    filters = ["event=oom", *(f"container={container}" for container in containers)]
    times = ["--since", str(began), "--until", str(int(time.time()))]
    return bool(docker("events", *times, *(w for f in filters for w in ("--filter", f))).strip())
