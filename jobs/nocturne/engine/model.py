"""What the engine calls: a model that takes encoded rows and returns one array an output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from nocturne.engine.encode import Encoded
from nocturne.errors import ModelError

__all__ = ["Model", "TorchModel", "load_torch", "pick_device"]


class Model(Protocol):
    """Takes the arguments of one micro-batch, gives its raw outputs [rows] by name or in order."""

    def predict(self, encoded: Encoded) -> Sequence[NDArray[Any]] | Mapping[str, NDArray[Any]]: ...


class TorchModel:
    """A torch module (eager, or loaded from ``pt2``) in inference mode on one device."""

    def __init__(self, module: torch.nn.Module, device: str = "cpu") -> None:
        self.module = module.to(device)
        self.device = device

    def predict(self, encoded: Encoded) -> Sequence[NDArray[Any]] | Mapping[str, NDArray[Any]]:
        with torch.inference_mode():
            tensors = [torch.from_numpy(np.ascontiguousarray(a)).to(self.device) for a in encoded]
            result = self.module(*tensors)
        if isinstance(result, dict):
            return {name: _to_numpy(tensor) for name, tensor in result.items()}
        several = isinstance(result, (tuple, list))
        return [_to_numpy(tensor) for tensor in (result if several else (result,))]


def _to_numpy(tensor: torch.Tensor) -> NDArray[Any]:
    if tensor.dtype in (torch.bfloat16, torch.float16):
        tensor = tensor.float()
    return np.asarray(tensor.detach().cpu().numpy())


def pick_device(wanted: str) -> str:
    """The device for ``auto | cpu | cuda``.

    Raises:
        ModelError: cuda is asked for and torch sees none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            "scoring.device is cuda, but torch sees no CUDA device here; use auto or cpu, or "
            "install a CUDA build of torch on the workers"
        )
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


def load_torch(path: str, device: str) -> TorchModel:
    """The ``pt2`` module (torch.export) of an MLflow model folder.

    Raises:
        ModelError: there is no pt2 file in it, or torch can't read it.
    """
    found = sorted(Path(path).rglob("*.pt2"))
    if not found:
        raise ModelError(
            f"{path} holds no .pt2 file; log the model with mlflow.pytorch.log_model(..., "
            "serialization_format='pt2') or nocturne.contract.log_torch_model",
            path=path,
        )
    try:
        module = torch.export.load(found[0]).module()
    except Exception as error:
        raise ModelError(f"torch can't load {found[0]}: {error}", path=path) from error
    return TorchModel(module, device)
