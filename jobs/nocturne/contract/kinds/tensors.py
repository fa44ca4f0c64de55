"""What MLflow is told about a torch model: its tensors, and the packages that it needs."""

from __future__ import annotations

import mlflow
import numpy as np
import pyarrow as pa
import torch
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from numpy.typing import NDArray

from nocturne.contract.encodings import tensors
from nocturne.encoding import Encoding

__all__ = ["example_of", "packages", "signature_of_tensors"]

_EXAMPLE_ROWS = 32


def example_of(encoding: Encoding, data: pa.Table) -> list[NDArray[np.generic]]:
    """The tensors of the first rows. One row alone would fix the number of rows of an export."""
    return [tensor.numpy() for tensor in tensors(data.slice(0, _EXAMPLE_ROWS), encoding)]


def signature_of_tensors(encoding: Encoding, example: list[NDArray[np.generic]]) -> ModelSignature:
    """The signature of a model that takes the tensors of the encoding, with any number of rows."""
    return ModelSignature(
        inputs=Schema(
            [
                TensorSpec(array.dtype, (-1, *array.shape[1:]), spec.name or None)
                for array, spec in zip(example, encoding.inputs, strict=True)
            ]
        )
    )


def packages() -> list[str]:
    """The installed torch and MLflow."""
    return [f"torch=={torch.__version__.split('+')[0]}", f"mlflow=={mlflow.__version__}"]
