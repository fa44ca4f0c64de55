"""Loads an MLflow model folder as a model that the engine can call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from nocturne.encoding import Encoding
from nocturne.engine.device_model import DeviceModel
from nocturne.engine.exported import load_exported
from nocturne.engine.kernels import KERNELS, build
from nocturne.engine.program import Program
from nocturne.engine.pt2 import load_pt2
from nocturne.engine.torch_model import TorchModel
from nocturne.errors import ModelError, choices

__all__ = ["load_torch", "load_trusted", "pick_device"]


def pick_device(requested: str) -> str:
    """The device for ``auto | cpu | cuda | cuda:1``.

    Raises:
        ModelError: CUDA is requested, but torch sees no CUDA device.
    """
    if requested.startswith("cuda") and not torch.cuda.is_available():
        raise ModelError(
            f"scoring.device is {requested}, but torch sees no CUDA device here; use auto or cpu, "
            "or install a CUDA build of torch on the workers"
        )
    if requested == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return requested


def load_torch(
    path: str,
    encoding: Encoding,
    *,
    device: str = "cpu",
    kernel: str = "graph",
    precision: str = "float32",
    read: Callable[[str, str], Program] = load_pt2,
) -> TorchModel | DeviceModel:
    """The ``pt2`` module (torch.export) of an MLflow model folder, ready to score.

    Args:
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        kernel: one of ``KERNELS``; on a GPU ``graph`` is the only one.
        precision: ``float32`` or ``bfloat16``.
        read: loads the program from a folder onto a device.

    Raises:
        ModelError: the folder has no pt2 file or one that is refused (``nocturne.model.pt2``),
            its inputs do not match the spec, or the kernel does not apply to it.
    """
    if kernel not in KERNELS:
        raise ModelError(f"no kernel {kernel!r}; there are {choices(KERNELS)}")
    program = read(path, device)
    order = program.order([tensor.name for tensor in encoding.inputs])
    names = program.output_names
    run = build(program, kernel, precision)
    if device == "cpu":
        return TorchModel(run, order=order, names=names, writes=program.writes)
    return DeviceModel(run, device, order=order, names=names)


def load_trusted(path: str, encoding: Encoding, **settings: Any) -> TorchModel | DeviceModel:
    """Like ``load_torch``, with torch's own loader, which runs the code that is in the file."""
    return load_torch(path, encoding, read=load_exported, **settings)
