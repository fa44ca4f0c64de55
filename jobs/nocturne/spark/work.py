"""What every task does in a Python worker: open its run, know its place, pass errors on.

The engine is imported by the functions, in the worker: the driver, which imports this too,
needs no torch.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa

from nocturne import errors
from nocturne.errors import NocturneError, RetryableError, disk_errors
from nocturne.hiding import said_by
from nocturne.host.trouble import explain
from nocturne.spark.session import cause_of
from nocturne.store.run import Run
from nocturne.store.run_folder import RunFolder

if TYPE_CHECKING:
    from nocturne.worker.split import DeviceSlot

__all__ = ["as_error", "device_slot", "guarded", "open_run", "spark_errors"]

T = TypeVar("T")

_REFUSALS = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError)
"""What Arrow raises where a cast loses a value or there is none; not what a disk or memory does."""


def open_run(run_dir: str) -> Run:
    """The run, read once a process, and again when it was planned anew."""
    return _run(run_dir, RunFolder(Path(run_dir)).plan_file.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _run(run_dir: str, written: int) -> Run:
    return Run.open(run_dir)


def device_slot(device: str, share: float = 1.0) -> DeviceSlot:
    """The GPU that Spark gave this task, or one by turns where Spark was told of none.

    Args:
        device: that is wanted; on the CPU any place will do.
        share: of a GPU's memory that each task may take.
    """
    from nocturne.worker.split import DeviceSlot

    if device == "cpu":
        return DeviceSlot()
    from pyspark import TaskContext

    task = TaskContext.get()
    gpu = task.resources().get("gpu") if task else None
    if gpu:
        return DeviceSlot(f"cuda:{gpu.addresses[0]}", share)
    import torch

    count = max(1, torch.cuda.device_count())
    return DeviceSlot(f"cuda:{(task.partitionId() if task else 0) % count}", share)


def guarded(work: Callable[[], T], task: str) -> tuple[T | None, str | None, str | None]:
    """(value, None, None), or (None, the error's type, its message): errors cross as data.

    A value that Arrow can't take as another type is refused by it again, whenever it is tried.
    """
    try:
        with disk_errors():
            return work(), None, None
    except NocturneError as failure:
        return None, type(failure).__name__, str(failure)
    except _REFUSALS as failure:
        traceback.print_tb(failure.__traceback__)  # its text quotes the value
        start = f"{task}: a value can't be taken as its column's type: {said_by(failure)}. Nothing "
        return (
            None,
            "InputError",
            f"{start}was published; correct the data, or what the model gives",
        )
    except Exception as failure:  # one bad split must not end the other nights' job
        traceback.print_exc()
        return None, "RetryableError", f"{task}: {type(failure).__name__}: {failure}"


@contextmanager
def spark_errors(action: str, advice: str) -> Iterator[None]:
    """On the driver, around a job: says why Spark's workers can't do ``action``.

    Args:
        advice: what to do where it may pass.

    Raises:
        MachineError: they never can, as they are.
        RetryableError: Spark itself failed, or a worker ended (a crash, memory).
    """
    try:
        yield
    except NocturneError:
        raise
    except Exception as error:
        if (trouble := explain(str(error), started=True)).why:
            raise trouble.error(f"Spark's workers can't {action}") from error
        raise RetryableError(f"Spark could not {action}: {cause_of(error)}. {advice}") from error


def as_error(error: str, message: str) -> NocturneError:
    """On the driver: the error that a worker passed on."""
    exception: NocturneError = getattr(errors, error, RetryableError)(message)
    return exception
