"""What is going on in a partition, for ``status``: one small file, replaced whole."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from nocturne.errors import Held, NocturneError, StateError, Superseded, disk_errors
from nocturne.records.texts import Time
from nocturne.store.record_files import find, write

__all__ = ["SILENCE", "Current", "clear", "now", "recall", "refused", "step", "touch"]

SILENCE = dt.timedelta(minutes=15)
"""A run that says nothing for so long counts as failed."""


@dataclass(frozen=True)
class Current:
    """The last run's step and how it stands. ``rows_done`` of ``rows`` while scoring."""

    mend: ClassVar[str] = (
        "Move it away, and look into the partition's runs/: a night that was held there is not "
        "known as held without it; run the partition again"
    )

    state: Literal["running", "held", "failed", "rejected"]
    step: str
    run_key: str
    run_dir: str
    model_version: int | None
    rows: int
    rows_done: int
    message: str
    at: Time


def now() -> str:
    """The present as ISO 8601, UTC, in seconds."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def _path(state_dir: str | Path) -> Path:
    return Path(state_dir) / "current.json"


def touch(state_dir: str | Path, current: Current) -> None:
    """Remember how the run stands."""
    write(_path(state_dir), current, durable=False)


def recall(state_dir: str | Path, in_force: str | None = None) -> Current | None:
    """How the last run stands; a run that fell silent is failed. None: nothing unfinished.

    Args:
        in_force: the published run's key; if that is the last run, it was killed before it could
            say that it is done.

    Raises:
        StateError: what is remembered is damaged.
    """
    found = find(Current, _path(state_dir))
    if found is None or found.run_key == in_force:
        return None
    silent = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(found.at)
    if found.state == "running" and silent > SILENCE:
        said = f"no sign of life since {found.at} (step {found.step}): it was killed or lost"
        return Current(**{**found.__dict__, "state": "failed", "message": said})
    return found


def refused(state_dir: str | Path, message: str) -> None:
    """Planning failed: there is no run yet, but `status` must not call the night missing.

    A held night stays held: a person is still to decide on it.
    """
    with suppress(StateError):  # what is damaged is written anew
        held = recall(state_dir)
        if held is not None and held.state == "held":
            return
    touch(state_dir, Current("failed", "prepare", "", "", None, 0, 0, message, now()))


def clear(state_dir: str | Path, run_key: str) -> None:
    """Nothing of this run is unfinished: the published manifest says the rest.

    What another run of the partition does stays.
    """
    with suppress(StateError):  # what is damaged goes: it says nothing to anybody
        found = recall(state_dir)
        if found is not None and found.run_key not in ("", run_key):
            return
    with suppress(FileNotFoundError):
        os.unlink(_path(state_dir))


@contextmanager
def step(
    name: str, state_dir: str, run_key: str, run_dir: str, model_version: int, rows: int
) -> Iterator[None]:
    """Marks the partition as running this step, and as held or failed if it raises."""

    def say(state: Literal["running", "held", "failed"], message: str) -> None:
        touch(
            state_dir,
            Current(state, name, run_key, run_dir, model_version, rows, 0, message, now()),
        )

    try:
        with disk_errors():
            say("running", "")
            yield
    except Held as held:
        say("held", str(held))
        raise
    except Superseded:
        clear(state_dir, run_key)  # the winner's night is fine
        raise
    except Exception as error:
        ours = isinstance(error, NocturneError)
        with suppress(OSError):  # where the disk is full, this can't be written either
            say("failed", str(error) if ours else f"{type(error).__name__}: {error}")
        raise
