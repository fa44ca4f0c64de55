"""Functions of every task in a Python worker: open the run, find the device, pass errors on.

The functions import the engine in the worker: the driver imports this module too, and needs no
torch.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa

from nocturne import errors
from nocturne.errors import NocturneError, RetryableError, disk_errors
from nocturne.hiding import redacted
from nocturne.host.trouble import explain
from nocturne.objects import location
from nocturne.objects.path import Stat
from nocturne.spark.session import cause_of
from nocturne.store.run import Run
from nocturne.store.run_folder import RunFolder

if TYPE_CHECKING:
    from nocturne.worker.split import DeviceSlot

__all__ = ["as_error", "device_slot", "guarded", "open_run", "spark_errors"]

T = TypeVar("T")

_REFUSALS = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError)
"""Arrow raises these if a cast loses a value or does not exist, but not for disks or memory."""


def open_run(run_dir: str) -> Run:
    """The run; it is read once in each process, and again if it has been planned again."""
    stat = RunFolder(location(run_dir)).plan_file.stat()
    return _run(run_dir, stat.tag if isinstance(stat, Stat) else stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _run(run_dir: str, written: int | str) -> Run:
    return Run.open(run_dir)


def device_slot(device: str, share: float = 1.0) -> DeviceSlot:
    """The GPU that Spark gave to this task; if Spark knows of no GPU, tasks take them in turns.

    Args:
        device: the device of the run.
        share: the share of a GPU's memory that each task may take.
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


@contextmanager
def spark_errors(action: str, advice: str) -> Iterator[None]:
    """On the driver, around a job: explains why Spark's workers can't do ``action``.

    Args:
        advice: what to do if the failure may pass.

    Raises:
        MachineError: the workers can't do it in their environment.
        RetryableError: Spark itself failed, or a worker ended (a crash, or out of memory).
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
    """On the driver: the error from the type and message that a worker passed on."""
    exception: NocturneError = getattr(errors, error, RetryableError)(message)
    return exception
