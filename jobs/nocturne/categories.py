"""Columns that a tree library was trained on as pandas categories: to a signature they are text.

LightGBM and XGBoost know the words by their codes, in the order of the training data, and keep them
in the model. A word that was not there in training is missing, as it is for the libraries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Category", "categories_of"]


@dataclass(frozen=True)
class Category:
    """The words of a column, in the order of their codes; ``coded``: the model is given the codes.

    MLflow makes of a frame the matrix of an XGBoost Booster without allowing for categories.
    """

    words: Sequence[Any]
    coded: bool = False


Found = Iterator[tuple[int, Category]]
"""Categories by the position of their column."""


def _lightgbm(model: Any) -> Found:
    """``pandas_categorical`` has no names: they are of the features with a list of codes."""
    booster = getattr(model, "booster_", model)
    known = [Category(words) for words in booster.pandas_categorical or ()]
    text = booster.model_to_string(num_iteration=1)
    [line] = [line for line in text.splitlines() if line.startswith("feature_infos=")]
    infos = line.partition("=")[2].split(" ")
    at = [place for place, info in enumerate(infos) if not info.startswith(("[", "none"))]
    yield from zip(at, known, strict=True) if len(at) == len(known) else ()


def _xgboost(model: Any) -> Found:
    """From 3.1 on the model has them; of older ones nobody knows."""
    whole = hasattr(model, "get_booster")
    booster = model.get_booster() if whole else model
    if "c" in (booster.feature_types or ()) and hasattr(booster, "get_categories"):
        for place, (_, words) in enumerate(booster.get_categories(export_to_arrow=True).to_arrow()):
            if words is not None:
                yield place, Category(words.to_pylist(), coded=not whole)


_LIBRARIES: dict[str, Callable[[Any], Found]] = {"lightgbm": _lightgbm, "xgboost": _xgboost}


def categories_of(model: Any, columns: Sequence[str]) -> dict[str, Category]:
    """Column -> its categories, of a library's own model.

    Args:
        columns: in the order of the training data.
    """
    find = _LIBRARIES.get(type(model).__module__.partition(".")[0])
    found = find(model) if find is not None else ()
    return {columns[place]: category for place, category in found}
