"""Places at which a process can be made to die, to test what a crash leaves behind.

``NOCTURNE_FAILPOINT`` names one of them; the process that reaches it sends itself a signal:

    commit.swapped              SIGKILL, the first time
    split.batch@3               the third time
    commit.locked=SIGSTOP       stops there, until somebody sends SIGCONT

Unset, as it is outside of tests, a failpoint costs a look at the environment.
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
    "record.written": "a JSON record is whole, under a name of its own, and nobody sees it yet",
    "prepare.planned": "the run is planned, and nothing of it written",
    "prepare.linked": "an unchanged split's file is taken over, its result is not",
    "split.begun": "an attempt has begun its split",
    "split.batch": "a batch of the split is scored and staged",
    "split.staged": "the attempt's files are whole, its result is not written",
    "split.decided": "the split has its result",
    "judge.reported": "the report is written, the judgement is not",
    "judge.judged": "the judgement is written, MLflow does not know of it",
    "commit.locked": "the partition is locked, nothing is changed",
    "commit.arranged": "the new files lie together under their final names",
    "commit.quarantined": "the quarantined rows are kept, the manifest is not written",
    "commit.written": "the manifest is written and not yet in force",
    "commit.swapped": "the new night is in force, the old one lies where it was made",
    "commit.retired": "the old night is a kept version; older ones are still there",
    "commit.pruned": "the partition is as it should be; the run's working files remain",
    "gc.moved": "garbage has lost its name and is not yet removed",
}
"""Name -> what has been done when it is reached."""

_FORM = re.compile(r"(?P<name>[\w.]+)(@(?P<time>\d+))?(=(?P<signal>SIG\w+))?")
_reached: Counter[str] = Counter()


def reach(name: str) -> None:
    """Dies here, if the environment says so.

    Raises:
        ConfigError: the environment names no failpoint.
    """
    wanted = os.environ.get(VARIABLE)
    if wanted:
        _reach(name, wanted)


def _reach(name: str, wanted: str) -> None:
    form = _FORM.fullmatch(wanted)
    if form is None or form["name"] not in FAILPOINTS:
        raise ConfigError(
            f"{VARIABLE} is {wanted!r}, expected one of {choices(FAILPOINTS, 99)}, then @TIME or "
            "=SIGNAL if wanted. It is for tests: unset it"
        )
    if name != form["name"]:
        return
    _reached[name] += 1
    if _reached[name] == int(form["time"] or 1):
        os.kill(os.getpid(), getattr(signal, form["signal"] or "SIGKILL"))
