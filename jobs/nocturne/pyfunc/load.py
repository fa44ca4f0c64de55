"""Runs any MLflow flavor in the engine, through ``mlflow.pyfunc``; imported only if needed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pyarrow as pa
from mlflow.models import ModelSignature
from numpy.typing import NDArray

from nocturne.encoding import Encoding, OutputSpec
from nocturne.engine.model import Raw
from nocturne.pyfunc.categories import Category, categories_of
from nocturne.pyfunc.own_code import enter
from nocturne.pyfunc.returned import arrays, several

__all__ = ["PyfuncModel", "load"]

ModelInput = pd.DataFrame | NDArray[Any] | dict[str, NDArray[Any]]
"""The input of a model: a frame, an array, or arrays by name."""

MakeInput = Callable[[Sequence[Any]], ModelInput]
"""Converts encoded rows to the input of a model."""

_NULLABLE: dict[Any, Any] = {
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}


_PROBABILITIES = {"predict_proba": "probability", "predict_log_proba": "log_probability"}
"""The method of a classifier that MLflow calls -> the prefix of its columns, before the class."""


class PyfuncModel:
    """A pyfunc model; ``nocturne.pyfunc.returned`` says what it may return.

    A call may cost, and the result of a row may depend on the other rows. So the model is given
    only real rows, without padding.

    Args:
        home: the folder that it was loaded from; the code in it belongs to the model.
        make_input: converts encoded rows to the model's input.
        params: parameters that are passed with every batch.
        outputs: the prediction columns that are made from its result.
        classes: names of the columns of a classifier's probabilities.
    """

    padded = False

    def __init__(
        self,
        model: mlflow.pyfunc.PyFuncModel,
        home: str,
        make_input: MakeInput,
        params: dict[str, Any],
        outputs: Sequence[OutputSpec] = (),
        classes: Sequence[str] = (),
    ) -> None:
        self.model, self.home, self.make_input, self.params = model, home, make_input, params
        self.outputs, self.classes = outputs, classes
        self.several: bool | None = None  # known once a result shows it

    def predict(self, encoded: Sequence[Any]) -> Raw:
        with _own(self.home):
            result = self.model.predict(self.make_input(encoded), params=self.params or None)
        rows = len(encoded[0])
        if self.several is None:
            self.several = several(result, rows)
        return arrays(result, rows, self.outputs, self.classes, self.several)


def load(path: str, encoding: Encoding, **_options: str) -> PyfuncModel:
    """The pyfunc model in the folder ``path``; device and precision are up to the flavor."""
    logging.getLogger("mlflow.utils.requirements_utils").setLevel(logging.ERROR)
    with _own(path):
        model = mlflow.pyfunc.load_model(path)
    _unchecked(model)
    first = encoding.inputs[0]
    if first.encoder == "frame":
        categories = categories_of(_raw(model), first.features, model.metadata.flavors)
        make_input: MakeInput = partial(_frame, bool(first.name), categories)
    else:
        make_input = partial(_arrays, [tensor.name for tensor in encoding.inputs])
    return PyfuncModel(model, path, make_input, encoding.params, encoding.outputs, _classes(model))


@contextmanager
def _own(home: str) -> Iterator[None]:
    """Runs a model with its own code, and turns an attempt to exit the process into an error.

    Raises:
        RuntimeError: the model called ``sys.exit``.
    """
    enter(home)
    try:
        yield
    except SystemExit as error:
        raise RuntimeError("it called sys.exit") from error


def _raw(model: mlflow.pyfunc.PyFuncModel) -> Any:
    """The library's own model; None if the flavor does not provide it."""
    with suppress(NotImplementedError):
        return model.get_raw_model()
    return None


def _unchecked(model: mlflow.pyfunc.PyFuncModel) -> None:
    """Keep MLflow from checking each batch against the signature: it fits, as it is made from it.

    MLflow would copy every column again. It would refuse a missing value in optional integers, and
    categories, which are text in a signature; and it would turn a null in a list of words into
    text. Params are still checked. Conversions by type hints or by an example are left alone.
    """
    signature = model.metadata.signature
    hints = ("_is_signature_from_type_hint", "_is_type_hint_from_example")
    if signature is None or any(getattr(signature, hint, False) for hint in hints):
        return
    model.metadata.signature = ModelSignature(params=signature.params) if signature.params else None


def _arrays(names: Sequence[str], encoded: Sequence[Any]) -> ModelInput:
    """Arrays by name, or the only array if it has no name; the model may write into them."""
    copies = map(np.array, encoded)
    by_name: dict[str, NDArray[Any]] = dict(zip(names, copies, strict=True))
    return by_name[names[0]] if not names[0] else by_name


def _frame(named: bool, categories: Mapping[str, Category], encoded: Sequence[Any]) -> pd.DataFrame:
    """A frame that the model may write into; if unnamed, its columns are 0, 1, 2 ..."""
    [batch] = encoded
    columns: dict[Any, Any] = {}
    for place, (name, column) in enumerate(zip(batch.schema.names, batch.columns, strict=True)):
        columns[name if named else place] = _series(column, categories.get(name))
    return pd.DataFrame(columns)


def _series(column: pa.Array, category: Category | None) -> Any:
    """Integers and booleans with nulls keep their type (pandas' masked types). A list becomes an
    array; a list of words becomes an array of NumPy's text, as in MLflow, unless it has a null.
    """
    if pa.types.is_list(column.type):
        words = pa.types.is_string(column.type.value_type)
        return pd.Series([_own_list(row, words) for row in column.to_pandas()], dtype=object)
    masked = _NULLABLE.get(column.type) if column.null_count else None
    series = column.to_pandas(types_mapper=lambda _: masked)
    if category is None:
        return series
    categorical = series.astype(pd.CategoricalDtype(list(category.words)))
    return (
        categorical.cat.codes.astype(float).where(categorical.notna())
        if category.coded
        else categorical
    )


def _own_list(row: NDArray[Any] | None, words: bool) -> NDArray[Any] | None:
    if row is None:
        return None
    return row.astype(str) if words and len(row) and None not in row.tolist() else np.array(row)


def _classes(model: mlflow.pyfunc.PyFuncModel) -> list[str]:
    """The names of the columns that ``predict_proba`` returns, one for each class; else none."""
    called = model.metadata.flavors["python_function"].get("predict_fn")
    if called not in _PROBABILITIES:
        return []
    classes = getattr(_raw(model), "classes_", None)
    if not isinstance(classes, np.ndarray) or classes.ndim != 1:  # several targets have a list
        return []
    names = [f"{_PROBABILITIES[called]}_{label}" for label in classes]
    return names if len(set(names)) == len(names) else []
