"""Explains the errors of Spark and Java: the reason, whether it may pass, and what to do.

This module needs only the standard library, since Airflow's tasks use it too.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass

from nocturne.errors import MachineError, NocturneError, RetryableError

__all__ = ["CRASHED", "Trouble", "cause_of", "explain", "how_ended"]


_AGAIN = "It may pass: run the same command again"


@dataclass(frozen=True)
class Trouble:
    """Why Spark can't start or work.

    Attributes:
        message: the message of Java or Python.
        why: the reason in plain words; "" if it is not known.
        fix: what to do.
        terminal: whether a retry without the fix is useless.
    """

    message: str
    why: str = ""
    fix: str = ""
    terminal: bool = False

    def error(self, action: str) -> NocturneError:
        """The error to raise; ``action`` names what failed."""
        kind = MachineError if self.terminal else RetryableError
        why = f"{self.why} ({self.message})" if self.why else self.message
        return kind(f"{action}: {why}. {self.advice}")

    @property
    def advice(self) -> str:
        """What to do."""
        return self.fix or f"{_AGAIN}. `nocturne doctor` reports more"

    @property
    def for_doctor(self) -> str:
        """What to do, in the output of `nocturne doctor`."""
        return self.fix or _AGAIN


@dataclass(frozen=True)
class _Known:
    """A known error: its pattern, the reason (with the pattern's groups filled in), and what to do.

    Attributes:
        is_message: whether the matched text is the message, in place of the exception around it.
    """

    pattern: str
    why: str
    fix: str
    terminal: bool = True
    is_message: bool = False


_ENVIRONMENT = "Unset SPARK_HOME and PYTHONPATH, or install pyspark anew (`make setup`)"
_CONF = "Correct spark.conf in the YAML, JAVA_TOOL_OPTIONS or SPARK_CONF_DIR"

CRASHED = _Known(
    r"Python worker exited unexpectedly \(crashed\)",
    "a Python worker ended: a crash in native code of the model or of a library, or "
    "memory that ran out",
    "The kernel's log says which (`dmesg`: segfault, or out of memory). Where memory ran "
    "out, run fewer workers at once (spark.master: local[2], none[2]) or a smaller "
    "scoring.micro_batch; where it crashed, predict the partition's rows in a notebook, and "
    "correct the model or "
    "the library. Then run the same command again",
    False,
    True,
)

_OF_WORKERS = (
    _Known(
        r"PYTHON_VERSION_MISMATCH|different version \S+ than that in driver",
        "the workers run another Python than the driver",
        "Unset PYSPARK_PYTHON, or set it to the same version with Nocturne installed",
    ),
    _Known(
        r"No module named '?(?P<name>(?:nocturne|pyspark|torch|pyarrow)\b[\w.]*)",
        "the workers' Python does not have {name}",
        "Unset PYSPARK_PYTHON, or install Nocturne there too",
    ),
    _Known(
        r"Cannot run program \"(?P<name>[^\"]+)\".*error=(?:2|13)\b",
        "the workers' Python {name} can't be run",
        "Unset PYSPARK_PYTHON, or correct it",
    ),
    CRASHED,
)

_OF_THE_START = (
    # Errors that may pass come first: a full disk causes many of the others.
    _Known(
        r"No space left on device|Disk quota exceeded",
        "the disk is full",
        "Free some space in /tmp (spark.local.dir), then run the same command again",
        False,
    ),
    _Known(
        r"insufficient memory for the Java Runtime|Could not reserve enough space"
        r"|Cannot allocate memory|error=12\b|OutOfMemoryError|unable to create native thread",
        "there is not enough memory, or too many processes run",
        "End other processes, or use less: spark.driver.memory in spark.conf; then run the "
        "same command again",
        False,
    ),
    _Known(
        r"BindException.*Address already in use",
        "no free port was found",
        "Run the same command again",
        False,
    ),
    _Known(
        r"UnknownHostException: (?P<name>[^\s:]+): (?P=name)\b",
        "the host name {name} of this machine does not resolve to an address",
        "Add `127.0.0.1 {name}` to /etc/hosts, or set SPARK_LOCAL_IP and spark.driver.host",
    ),
    _Known(
        r"BindException.*Cannot assign requested address",
        "the address that Spark should listen on does not belong to this machine",
        "Correct SPARK_LOCAL_IP and spark.driver.bindAddress",
    ),
    _Known(
        r"invalid null input: name|basedir must be absolute: \?",
        "the user that runs this has no entry in /etc/passwd",
        "Add one (in a container: `RUN useradd --uid ...`)",
    ),
    _Known(
        r"InvalidPathException: Malformed input|unmappable characters",
        "Java's locale can't represent the name of a folder or file",
        "export LC_ALL=C.UTF-8",
    ),
    _Known(
        r"UnsupportedClassVersionError|JAVA_HOME is not set|bin/java: (?:No such|not found)",
        "there is no Java that Spark can run on",
        "Install Java 17 or newer, or set JAVA_HOME; `nocturne doctor` says how",
    ),
    _Known(
        r"Unrecognized (?:VM )?option:? (?P<name>\S+)|Invalid (?:maximum|initial) heap size"
        r"|Too small (?:maximum|initial) heap|Conflicting collector|Multiple garbage collectors"
        r"|Error opening zip file",
        "Java does not take its options",
        _CONF,
    ),
    _Known(
        r"System memory \d+ must be at least|Executor memory \d+ must be at least",
        "Spark is given too little memory",
        "Raise spark.driver.memory in spark.conf",
    ),
    _Known(
        r"Could not parse Master URL|Could not find .*master",
        "there is no such master",
        "Correct spark.master",
    ),
    _Known(
        r"NoSuchMethodError|NoClassDefFoundError|ClassNotFoundException"
        r"|'JavaPackage' object is not callable|Failed to find Spark jars"
        r"|Could not find or load main class|spark-submit: No such file"
        r"|does not exist in the JVM",
        "the Spark that is started does not belong to this pyspark, or is incomplete",
        _ENVIRONMENT,
    ),
    _Known(
        r"AccessDeniedException|Permission denied|Read-only file system"
        r"|Failed to create (?:a temp directory|any local dir)",
        "a folder that Spark needs can't be written or read",
        "Make it writable (/tmp, spark.local.dir), or readable: Java, pyspark",
    ),
)


def explain(text: str, *, started: bool = False) -> Trouble:
    """The reason for an error of Spark, Java or a worker.

    Args:
        started: Spark has started, so only errors of its workers are considered.
    """
    for known in _OF_WORKERS if started else (*_OF_THE_START, *_OF_WORKERS):
        match = re.search(known.pattern, text)
        if match:
            line = text[text.rfind("\n", 0, match.start()) + 1 :].partition("\n")[0]
            message = match[0] if known.is_message else _exception(text) or line.strip()
            groups = {k: v or "" for k, v in match.groupdict().items()}
            return Trouble(
                message,
                known.why.format(**groups),
                known.fix.format(**groups),
                known.terminal,
            )
    return Trouble(cause_of(text))


def how_ended(code: int) -> str:
    """How a process ended: by a signal if its code is below 0, else with an exit code."""
    return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"


_CAUSED = re.compile(r"^\s*Caused by: (?P<message>\S.*)$", re.MULTILINE)
_THROWN = re.compile(
    r"^(?:\d\d:\d\d:\d\d \w+ \S+ )?(?:Exception in thread \"[^\"]*\" |: )?"
    r"(?P<message>(?:[\w$]+\.)*[\w$]*(?:Exception|Error)(?:: .*)?)$",
    re.MULTILINE,
)
_GATEWAY = re.compile(  # pyspark's error for a JVM that ended for any reason
    r"^(?:During handling of .*\n\n)?Traceback \(most recent call last\):\n"
    r"(?:[ \t].*\n)*.*JAVA_GATEWAY_EXITED.*$",
    re.MULTILINE,
)
_WRONG = re.compile(r"error|exception|not found|can't|cannot|failed", re.IGNORECASE)


def cause_of(text: str) -> str:
    """The line with the cause: Java's last "Caused by", else the last exception, else the end."""
    text = _GATEWAY.sub("", text)
    if message := _exception(text):
        return message
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    messages = [line for line in lines if not line.startswith(("at ", "..."))]
    errors = [line for line in messages if _WRONG.search(line)]
    return (errors or messages or ["there is no message"])[-1]


def _exception(text: str) -> str:
    for pattern in (_CAUSED, _THROWN):
        matches = pattern.findall(_GATEWAY.sub("", text))
        if messages := [message for message in matches if not message.endswith("call last):")]:
            return str(messages[-1]).strip()
    return ""
