"""Keeps publishes and `nocturne gc` apart in a partition whose state is in a store.

A store has no locks. Who publishes, or cleans, first writes an object that says so, and then looks
for one of the other kind: of two that begin at once, at least one sees the other. Publishes do not
keep each other out, since the table's commit decides between them.

An object of a process that was killed counts for a while only, or not at all if that process was
one of this machine. Who is late, because it was stopped or its work took so long, gives up before
it changes anything: its own object may count no more.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from nocturne.errors import ConfigError, RetryableError, StoreUnavailable, Superseded
from nocturne.objects import ObjectPath
from nocturne.objects.store import entries

__all__ = ["CLEANING", "PUBLISHING", "Lease", "leased"]

PUBLISHING, CLEANING = "publish", "gc"
_COUNTS_S = {PUBLISHING: 86_400.0, CLEANING: 600.0}
"""Kind -> for how long such an object counts. A publish may copy many files."""
_NAME = re.compile(r"\w+-(?P<processes>[0-9a-f]{16})-(?P<pid>\d{1,9})-(?P<started>\d+)-[0-9a-f]+")
_WAIT_S = 60.0
"""How long a publish waits for gc."""
_POLL_S = 2.0


@dataclass(frozen=True)
class Lease:
    """That a process publishes, or cleans, since a moment of its own clock."""

    kind: str
    since: float

    def check(self) -> None:
        """Raises: RetryableError if too much time has passed to be sure that no other began."""
        if _clock() - self.since > _COUNTS_S[self.kind] / 2:
            raise RetryableError(
                f"{self.kind}: this took so long that another process may have begun to change "
                "the same files; nothing more was changed. Run the same command again"
            )


@contextmanager
def leased(folder: ObjectPath, kind: str, title: str) -> Iterator[Lease]:
    """Say that this process publishes or cleans, and that no process does the other.

    Args:
        folder: of these objects of a partition.
        title: the partition's, for messages.

    Raises:
        Superseded: it is published, so that gc leaves it alone.
        RetryableError: gc is at work there.
        StoreUnavailable, ConfigError: the store does not answer, or refuses.
    """
    lease = Lease(kind, _clock())
    own = (
        folder
        / f"{kind}-{_processes()}-{os.getpid()}-{_started(os.getpid())}-{os.urandom(4).hex()}"
    )
    try:
        own.write_bytes(b"")
        while other := _other(folder, own, lease):
            if kind == CLEANING:
                raise Superseded(
                    f"{title} is being published right now, as {other} says, which counts for "
                    f"{_COUNTS_S[PUBLISHING] / 3600:.0f} hours if its process was killed elsewhere"
                )
            if _clock() - lease.since > _WAIT_S:
                raise RetryableError(
                    f"`nocturne gc` is removing files of {title} right now ({other}); nothing was "
                    "changed. Run the same command again in some minutes"
                )
            time.sleep(_POLL_S)
        yield lease
    finally:
        with suppress(StoreUnavailable, ConfigError):  # it does not count for long
            own.unlink()


def _other(folder: ObjectPath, own: ObjectPath, lease: Lease) -> ObjectPath | None:
    """An object of the other kind that counts still, by the clock of the store.

    Those that count no more are removed.
    """
    there = {path: path.stat_.st_mtime for path in entries(folder)[1] if path.stat_}
    now = there.get(own, 0.0) + _clock() - lease.since
    for path, written in there.items():
        kind = path.name.partition("-")[0]
        if kind not in _COUNTS_S or kind == lease.kind:
            continue
        if now - written < _COUNTS_S[kind] and not _is_over(path.name):
            return path
        path.unlink()
    return None


def _is_over(name: str) -> bool:
    """Whether it is known that the process has ended: one of those that this one can see."""
    owner = _NAME.fullmatch(name)
    if owner is None or owner["processes"] != _processes():
        return False
    try:
        os.kill(int(owner["pid"]), 0)
    except ProcessLookupError:
        return True
    except OSError:  # of another user
        pass
    return _started(int(owner["pid"])) not in ("", owner["started"])


def _clock() -> float:
    """Seconds that go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@cache
def _processes() -> str:
    """What tells the processes that this one can see from others: its kernel and namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = Path("/proc/self/ns/pid").readlink()
    except OSError:  # then none is known to have ended
        return os.urandom(8).hex()
    return sha256(f"{boot} {namespace}".encode()).hexdigest()[:16]


def _started(pid: int) -> str:
    """When a process was started, in ticks since the boot; "" if that can't be seen."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    state, *values = stat.rpartition(")")[2].split()
    return "ended" if state == "Z" else values[18]  # field 22: proc(5)
