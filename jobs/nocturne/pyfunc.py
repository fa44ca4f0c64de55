"""Any MLflow flavor in the engine, through ``mlflow.pyfunc``; loaded only where it is used."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from nocturne.encoding import Encoding

__all__ = ["PyfuncModel", "load"]

_NULLABLE: dict[Any, Any] = {
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}


class PyfuncModel:
    """A pyfunc model that takes one frame and returns a vector, a matrix or a frame."""

    def __init__(self, model: mlflow.pyfunc.PyFuncModel) -> None:
        self.model = model

    def predict(
        self, encoded: Sequence[pa.RecordBatch]
    ) -> list[NDArray[Any]] | dict[str, NDArray[Any]]:
        frame = _frame(encoded[0])
        result = self.model.predict(frame)
        if isinstance(result, dict):
            return {str(name): np.asarray(values) for name, values in result.items()}
        if isinstance(result, pd.DataFrame):
            return {str(name): result[name].to_numpy() for name in result.columns}
        values = np.asarray(result)
        if values.ndim == 2 and values.shape[1] > 1:
            return [values[:, i] for i in range(values.shape[1])]
        return [values]


def _frame(batch: pa.RecordBatch) -> pd.DataFrame:
    """Integers and booleans with nulls stay what they are (pandas' masked types)."""
    columns = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        masked = _NULLABLE.get(column.type) if column.null_count else None
        columns[name] = column.to_pandas(types_mapper=lambda _, m=masked: m)
    return pd.DataFrame(columns)


def load(path: str, encoding: Encoding, **_: str) -> PyfuncModel:
    """The pyfunc model in the folder ``path``; device and precision are the flavor's own affair."""
    logging.getLogger("mlflow.utils.requirements_utils").setLevel(logging.ERROR)
    return PyfuncModel(mlflow.pyfunc.load_model(path))
