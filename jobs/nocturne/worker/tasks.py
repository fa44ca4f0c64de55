"""What a process that scores does, whoever started it: opens the run, scores its splits.

The functions import the engine when they are called: the driver imports this module too, and needs
no torch.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from typing import TypeVar

import pyarrow as pa

from nocturne import errors
from nocturne.errors import NocturneError, RetryableError, disk_errors
from nocturne.hiding import redacted
from nocturne.objects import location
from nocturne.objects.path import Stat
from nocturne.records.challengers import Opponent
from nocturne.store.run import Run
from nocturne.store.run_folder import RunFolder
from nocturne.worker.slots import DeviceSlot

__all__ = ["Failure", "Item", "as_error", "challengers_of", "guarded", "open_run", "score_items"]

log = logging.getLogger(__name__)

T = TypeVar("T")

Item = tuple[str, int]
"""Run directory, and a split's number in it."""
Failure = tuple[str, str, str]
"""Run directory, the error's type, its message."""

_REFUSALS = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError)
"""Arrow raises these if a cast loses a value or does not exist, but not for disks or memory."""


def score_items(items: Iterable[Item], slot: Callable[[str], DeviceSlot]) -> Iterator[Failure]:
    """Score the splits one after the other; yields the failures.

    Args:
        slot: the device to score on, for the device of a run.
    """
    for run_dir, index in items:
        _, error, message = guarded(partial(_score, run_dir, index, slot), f"split {index}")
        if error is not None:
            yield run_dir, error, str(message)


def _score(run_dir: str, index: int, slot: Callable[[str], DeviceSlot]) -> int:
    from nocturne.worker.beside import quarantined_rows
    from nocturne.worker.split import run_split

    run = open_run(run_dir)
    split, device = run.plan.splits[index], slot(run.plan.pinned.device)
    if run.plan.champion:  # it is scored alone
        quarantined = quarantined_rows(run.quarantined_file(split))
        return run_split(run, split, device, quarantined=quarantined).rows_in
    return run_split(run, split, device, challengers=challengers_of(run)).rows_in


def challengers_of(champion: Run) -> list[tuple[Opponent, Run]]:
    """The challengers that are scored beside a run; one that can't be opened can't cost the night,
    and is left out.
    """
    found = []
    try:
        for opponent in champion.challenged().challengers:
            try:
                found.append((opponent, open_run(opponent.run_dir)))
            except Exception as error:
                log.warning("challenger %s: %s", opponent.name, error)
    except Exception as error:
        log.warning("no challenger is scored: %s", error)
    return found


def open_run(run_dir: str) -> Run:
    """The run; it is read once in each process, and again if it has been planned again."""
    stat = RunFolder(location(run_dir)).plan_file.stat()
    return _run(run_dir, stat.tag if isinstance(stat, Stat) else stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _run(run_dir: str, written: int | str) -> Run:
    return Run.open(run_dir)


def guarded(work: Callable[[], T], task: str) -> tuple[T | None, str | None, str | None]:
    """(value, None, None), or (None, the error's type, its message): errors are passed as data.

    If Arrow can't convert a value, it is an InputError: another attempt would fail in the same way.
    """
    try:
        with disk_errors():
            return work(), None, None
    except NocturneError as failure:
        return None, type(failure).__name__, str(failure)
    except _REFUSALS as failure:
        traceback.print_tb(failure.__traceback__)  # its text quotes the value
        start = (
            f"{task}: a value can't be taken as its column's type: {redacted(failure)}. Nothing "
        )
        return (
            None,
            "InputError",
            f"{start}was published; correct the data, or the outputs of the model",
        )
    except Exception as failure:  # one bad split must not end the other nights' job
        traceback.print_exc()
        return None, "RetryableError", f"{task}: {type(failure).__name__}: {failure}"


def as_error(error: str, message: str) -> NocturneError:
    """On the driver: the error from the type and message that a worker passed on."""
    exception: NocturneError = getattr(errors, error, RetryableError)(message)
    return exception
