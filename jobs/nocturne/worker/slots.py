"""Which device a task scores on, and how much of its memory the task may take."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["OF_RUN", "DeviceSlot", "slot_in_turn"]


@dataclass(frozen=True)
class DeviceSlot:
    """A task's device, and its share of the device's memory. None: the device of the run."""

    device: str | None = None
    memory: float = 1.0


OF_RUN = DeviceSlot()


def slot_in_turn(device: str, *, number: int, tasks: int, share: float | None = None) -> DeviceSlot:
    """The slot if nobody gives out GPUs: the tasks take them in turns.

    Args:
        device: the device of the run.
        number: the task's own.
        tasks: how many run at once.
        share: of a GPU's memory; default: so that all the tasks fit.
    """
    if device == "cpu":
        return OF_RUN
    import torch

    count = max(1, torch.cuda.device_count())
    return DeviceSlot(f"cuda:{number % count}", share or min(1.0, count / tasks))
