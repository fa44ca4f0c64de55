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
        order: the position of each argument among the encoded tensors; None for their own order.
        names: the names of the outputs, if the program returns a dict.
        writes: whether it may write to its arguments, which are copies then, or in a later call to
            what it has returned, which is copied too.
    """

    def __init__(
        self,
        run: Run,
        *,
        order: Sequence[int] | None = None,
        names: Sequence[str] | None = None,
        writes: bool = True,
    ) -> None:
        self.run, self.order, self.names, self._writes = run, order, names, writes

    def predict(self, encoded: Encoded) -> Raw:
        with torch.inference_mode():
            given = [array.copy() for array in encoded] if self._writes else encoded
            tensors = [torch.from_numpy(array) for array in given]
            result = self.run(
                *(tensors if self.order is None else [tensors[i] for i in self.order])
            )
            return arrays_of(result, self.names, copied=self._writes)


def arrays_of(result: Any, names: Sequence[str] | None, *, copied: bool) -> Raw:
    """What a module returned, as arrays: by name if it is a dict, else in order."""

    def to_numpy(tensor: torch.Tensor) -> Array:
        if tensor.dtype in (torch.bfloat16, torch.float16):
            tensor = tensor.float()
        array = np.asarray(tensor.detach().numpy())
        return array.copy() if copied else array

    if isinstance(result, dict):
        return {str(name): to_numpy(tensor) for name, tensor in result.items()}
    several = result if isinstance(result, (tuple, list)) else (result,)
    if others := {type(item).__name__ for item in several if not isinstance(item, torch.Tensor)}:
        raise ModelError(
            f"the module returned {choices(others)} among its outputs; have it return tensors only"
        )
    arrays = [to_numpy(tensor) for tensor in several]
    return dict(zip(names, arrays, strict=True)) if names else arrays
