"""A torch module in the engine: an exported program, or an eager module, on one device."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from nocturne.engine.encode import Encoded
from nocturne.engine.kernels import Run
from nocturne.engine.model import Array, Raw
from nocturne.errors import ModelError, choices

__all__ = ["TorchModel"]

# Encoded arrays may share memory with a batch that was read; they are never written.
warnings.filterwarnings("ignore", message="The given NumPy array is not writable")


class TorchModel:
    """A callable of tensors (a module, or a built kernel) in inference mode on the CPU.

    Args:
        order: which of the encoded tensors each argument is; None: as they come.
        names: of the outputs, where the program returns a dict.
    """

    def __init__(
        self, run: Run, *, order: Sequence[int] | None = None, names: Sequence[str] | None = None
    ) -> None:
        self.run, self.order, self.names = run, order, names

    def predict(self, encoded: Encoded) -> Raw:
        with torch.inference_mode():
            tensors = [torch.from_numpy(array) for array in encoded]
            result = self.run(
                *(tensors if self.order is None else [tensors[i] for i in self.order])
            )
            return named(result, self.names)


def named(result: Any, names: Sequence[str] | None) -> Raw:
    """What a module returned as arrays: by name for a dict, else in order."""
    if isinstance(result, dict):
        return {str(name): to_numpy(tensor) for name, tensor in result.items()}
    several = result if isinstance(result, (tuple, list)) else (result,)
    if other := {type(one).__name__ for one in several if not isinstance(one, torch.Tensor)}:
        raise ModelError(
            f"the module returned {choices(other)} among its outputs; have it return tensors only"
        )
    arrays = [to_numpy(tensor) for tensor in several]
    return dict(zip(names, arrays, strict=True)) if names else arrays


def to_numpy(tensor: torch.Tensor) -> Array:
    if tensor.dtype in (torch.bfloat16, torch.float16):
        tensor = tensor.float()
    return np.asarray(tensor.detach().numpy())
