"""Failpoints: places at which a process can be killed, to test what a crash leaves behind.

``NOCTURNE_FAILPOINT`` names a failpoint; the process that reaches it sends itself a signal:

    commit.swapped              SIGKILL, the first time
    split.batch@3               the third time
    commit.locked=SIGSTOP       stops there until somebody sends SIGCONT

If the variable is not set (outside of tests), a failpoint only reads the environment.
"""

from __future__ import annotations

import os
import re
import signal
from collections import Counter

from nocturne.errors import ConfigError, choices

__all__ = ["FAILPOINTS", "VARIABLE", "reach"]

VARIABLE = "NOCTURNE_FAILPOINT"

FAILPOINTS = {
    "record.written": "a JSON record is whole, under a temporary name, and nobody sees it yet",
    "prepare.planned": "the run is planned, nothing of it is written",
    "prepare.linked": "an unchanged split's file is taken over, its result is not",
    "split.begun": "an attempt has begun its split",
    "split.batch": "a batch of the split is scored and staged",
    "split.staged": "the attempt's files are whole, its result is not written",
    "split.decided": "the split has its result",
    "judge.reported": "the report is written, the judgement is not",
    "judge.judged": "the judgement is written, it is not logged to MLflow",
    "commit.locked": "the partition is locked, nothing is changed",
    "commit.arranged": "the new files are linked under their final names",
    "commit.quarantined": "the quarantined rows are kept, the manifest is not written",
    "commit.written": "the manifest is written and not yet in force",
    "commit.swapped": "the new night is in force, the old one is not kept as a version yet",
    "commit.retired": "the old night is a kept version; older ones are still there",
    "commit.pruned": "the partition is complete; the run's working files remain",
    "gc.moved": "a piece of garbage is renamed and not yet removed",
}
"""Name -> what has been done when the failpoint is reached."""

_FORM = re.compile(r"(?P<name>[\w.]+)(@(?P<time>\d+))?(=(?P<signal>SIG\w+))?")
_reached: Counter[str] = Counter()


def reach(name: str) -> None:
    """Kill the process here if the environment names this failpoint.

    Raises:
        ConfigError: the environment names an unknown failpoint.
    """
    setting = os.environ.get(VARIABLE)
    if setting:
        _reach(name, setting)


def _reach(name: str, setting: str) -> None:
    match = _FORM.fullmatch(setting)
    if match is None or match["name"] not in FAILPOINTS:
        raise ConfigError(
            f"{VARIABLE} is {setting!r}, expected one of {choices(FAILPOINTS, 99)}, then @TIME or "
            "=SIGNAL if wanted. It is for tests: unset it"
        )
    if name != match["name"]:
        return
    _reached[name] += 1
    if _reached[name] == int(match["time"] or 1):
        os.kill(os.getpid(), getattr(signal, match["signal"] or "SIGKILL"))
