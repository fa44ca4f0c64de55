"""Any MLflow flavor in the engine, through ``mlflow.pyfunc``; loaded only where it is used."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pyarrow as pa

from nocturne.encoding import Encoding, OutputSpec
from nocturne.engine.model import Raw
from nocturne.returned import arrays

__all__ = ["PyfuncModel", "load"]

_NULLABLE: dict[Any, Any] = {
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}


_PROBABILITIES = {"predict_proba": "probability", "predict_log_proba": "log_probability"}
"""What MLflow calls of a classifier -> how its columns are named, with the class behind."""


class PyfuncModel:
    """A pyfunc model that takes one frame; ``nocturne.returned`` says what it may return.

    Args:
        outputs: the prediction columns that are made of it.
        classes: names of the columns of a classifier's probabilities.
    """

    def __init__(
        self,
        model: mlflow.pyfunc.PyFuncModel,
        outputs: Sequence[OutputSpec] = (),
        classes: Sequence[str] = (),
    ) -> None:
        self.model, self.outputs, self.classes = model, outputs, classes

    def predict(self, encoded: Sequence[pa.RecordBatch]) -> Raw:
        result = self.model.predict(_frame(encoded[0]))
        return arrays(result, len(encoded[0]), self.outputs, self.classes)


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
    model = mlflow.pyfunc.load_model(path)
    return PyfuncModel(model, encoding.outputs, _classes(model))


def _classes(model: mlflow.pyfunc.PyFuncModel) -> list[str]:
    """The names of what ``predict_proba`` gives, a class each; none for other models."""
    called = model.metadata.flavors["python_function"].get("predict_fn")
    if called not in _PROBABILITIES:
        return []
    try:
        classes = getattr(model.get_raw_model(), "classes_", None)
    except NotImplementedError:
        return []
    if not isinstance(classes, np.ndarray) or classes.ndim != 1:  # several targets have a list
        return []
    names = [f"{_PROBABILITIES[called]}_{one}" for one in classes]
    return names if len(set(names)) == len(names) else []
