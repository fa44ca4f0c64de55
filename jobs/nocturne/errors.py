"""Every error that Nocturne raises on purpose, and whether a retry can help.

    NocturneError                 has its values as attributes; str() is the whole message
    |-- TerminalError             a retry gives the same result: a person must act
    |   |-- ConfigError           a YAML file, a run parameter or a path is wrong
    |   |   `-- StoreRefused      an object store does not let us do something
    |   |-- MachineError          Spark can't start or work on this machine as it is
    |   |-- ModelError            the registry has no such model, or it must not be loaded
    |   |-- InputError            the data can't be scored: missing, empty, wrong columns
    |   |   `-- PartitionMissing  there is no such partition (`input.on_missing` decides)
    |   |-- Held                  the verdict says that a person must decide
    |   |-- Superseded            another run published first: this one has no effect
    |   |-- PublishError          the output can't be published there safely
    |   |   `-- ForeignRows       other programs have changed its rows: they may be adopted
    |   `-- StateError            a run directory is missing, foreign or incomplete
    |       `-- WrittenByNewer    a newer Nocturne wrote it
    `-- RetryableError            the same call may succeed later
        |-- NotReady              the partition is there but not complete yet
        |-- InputChanged          a file changed between planning and reading
        |-- Unsettled             a commit got no answer: it may be in force or not
        |-- DeviceLost            the accelerator failed; only a new process can use it again
        |-- RegistryUnavailable   the MLflow server did not answer
        `-- StoreUnavailable      an object store did not answer

A retryable error ends a command with exit code 75 (EX_TEMPFAIL of sysexits.h), a terminal error
with 1, or with 3 if the night is held. Airflow's retries follow these codes.
"""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

__all__ = [
    "ConfigError",
    "DeviceLost",
    "ForeignRows",
    "Held",
    "InputChanged",
    "InputError",
    "MachineError",
    "ModelError",
    "NocturneError",
    "NotReady",
    "PartitionMissing",
    "PublishError",
    "RegistryUnavailable",
    "RetryableError",
    "StateError",
    "StoreRefused",
    "StoreUnavailable",
    "Superseded",
    "TerminalError",
    "Unsettled",
    "WrittenByNewer",
    "choices",
    "did_you_mean",
    "disk_errors",
    "printable",
]


class NocturneError(Exception):
    """The base class. A message says what came, what was expected, and what to do.

    ``values`` are kept as attributes, so that a caller can use them without parsing the message.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, **values: Any) -> None:
        super().__init__(message)
        self.values = values
        self.__dict__.update(values)


class TerminalError(NocturneError):
    """A retry gives the same result."""


class RetryableError(NocturneError):
    """The same call may succeed later."""

    exit_code = 75


class ConfigError(TerminalError):
    """A YAML file, a run parameter or a path is wrong."""


class StoreRefused(ConfigError):
    """An object store does not let us do something."""


class MachineError(TerminalError):
    """Spark can't start or work on this machine, or in this environment, as it is."""


class ModelError(TerminalError):
    """The registry has no such model, or it must not be loaded."""


class InputError(TerminalError):
    """The partition can't be scored as it is."""


class PartitionMissing(InputError):
    """There is no such partition."""


class Held(TerminalError):
    """The night waits for a person."""

    exit_code = 3


class Superseded(TerminalError):
    """Another run published this partition first."""


class PublishError(TerminalError):
    """The output can't be published there safely."""


class ForeignRows(PublishError):
    """Other programs have changed the rows of a partition; `nocturne adopt` takes them."""


class StateError(TerminalError):
    """A run directory is missing, foreign or incomplete."""


class WrittenByNewer(StateError):
    """A newer Nocturne wrote the file."""


class NotReady(RetryableError):
    """The partition is not complete yet."""


class InputChanged(RetryableError):
    """An input file is no longer the one that was planned."""


class Unsettled(RetryableError):
    """A commit got no answer, and nor did the question what is in force."""


class DeviceLost(RetryableError):
    """The accelerator failed; only a new process can use it again."""


class RegistryUnavailable(RetryableError):
    """The MLflow server did not answer."""


class StoreUnavailable(RetryableError):
    """An object store did not answer."""


@contextmanager
def disk_errors() -> Iterator[None]:
    """Raises Nocturne's errors, which say what to do, for a full or read-only disk.

    Raises:
        RetryableError: there is no space left.
        PublishError: a file or folder can't be written or read.
    """
    try:
        yield
    except OSError as error:
        known = _of_disk(error)
        if known is None:
            raise
        raise known from error


def _of_disk(error: OSError) -> NocturneError | None:
    where = error.filename or "the disk of output.path, or of the temporary files"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RetryableError(
            f"no space left ({where}): {error.strerror or error}. Nothing was published; what was "
            "scored is kept. Free some space (`nocturne gc` lists what is not needed) and run the "
            "same command again"
        )
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return PublishError(
            f"{where} can't be written or read: {error.strerror or error}. What is published is "
            "unchanged. The user that runs Nocturne needs to write output.path and the _nocturne "
            "folder beside it"
        )
    return None


def choices(options: Iterable[object], limit: int = 12) -> str:
    """The valid values as a phrase for an error: ``a, b, c`` or ``(there are none)``."""
    names = sorted(str(option) for option in options)
    if not names:
        return "(there are none)"
    more = f", and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def did_you_mean(name: object, options: Iterable[str], most: int = 1) -> str:
    """`` (did you mean 'a' or 'b'?)``, to follow an unknown name; "" if no option is similar."""
    near = difflib.get_close_matches(str(name), list(options), most)
    return f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""


def printable(path: object) -> str:
    """A path for a message, also one whose bytes are not UTF-8."""
    return os.fsencode(str(path)).decode("utf-8", "backslashreplace")
