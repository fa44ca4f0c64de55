"""Spark's part of a task: which device it has, and what its errors mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nocturne.errors import NocturneError, RetryableError
from nocturne.host.trouble import explain
from nocturne.spark.session import cause_of
from nocturne.worker.slots import OF_RUN, DeviceSlot, slot_in_turn

__all__ = ["device_slot", "spark_errors"]


def device_slot(device: str, share: float = 1.0) -> DeviceSlot:
    """The GPU that Spark gave to this task; if Spark knows of no GPU, tasks take them in turns.

    Args:
        device: the device of the run.
        share: the share of a GPU's memory that each task may take.
    """
    if device == "cpu":
        return OF_RUN
    from pyspark import TaskContext

    task = TaskContext.get()
    gpu = task.resources().get("gpu") if task else None
    if gpu:
        return DeviceSlot(f"cuda:{gpu.addresses[0]}", share)
    number = task.partitionId() if task else 0
    return slot_in_turn(device, number=number, tasks=1, share=share)


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
