"""Finds the columns on which a tree library was trained as pandas categories; the signature has
them as text or numbers.

LightGBM and XGBoost store the words in the model, in the order of their codes in training. A word
that was not in the training data is missing, as it is for the libraries. If it is not certain
which column has which words, the model is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from packaging.version import InvalidVersion, Version

from nocturne.encoding import Feature
from nocturne.errors import ModelError

__all__ = ["Category", "categories_of"]

Flavors = Mapping[str, Mapping[str, Any]]
"""Flavor -> its section in the MLmodel file."""


@dataclass(frozen=True)
class Category:
    """The words of a column, in the order of their codes; ``coded``: the model takes the codes.

    MLflow does not support categories when it converts a frame to the matrix of an XGBoost Booster.
    """

    words: Sequence[Any]
    coded: bool = False

    def fits(self, feature: Feature) -> bool:
        """Whether the values of the column can be these words."""
        kinds = {_KINDS.get(type(word), "") for word in self.words}
        return not feature.type or kinds <= {_TYPES.get(feature.type, feature.type)}


_KINDS = {str: "string", bool: "boolean", int: "number", float: "number"}
_TYPES = dict.fromkeys(("integer", "long", "float", "double"), "number")

Categories = Iterator[tuple[int, Category]]
"""Categories by the position of their column."""

_AS_TEXT = (
    "Train it with these columns as categories of words (frame[COLUMN].astype(str)"
    ".astype('category')) and log it with a signature that calls them string"
)


def _lightgbm(model: Any, features: Sequence[Feature], _: Flavors) -> Categories:
    """``pandas_categorical`` has no names. Its order is that of the columns in the training frame
    that were categories (ordered ones too), or were declared as categorical.

    The assignment must be the only one that agrees with the codes and the signature: text is a
    category, since LightGBM takes no other text, and the codes of n words are among 0 to n - 1.
    """
    booster = getattr(model, "booster_", model)
    categories = [Category(words) for words in booster.pandas_categorical or ()]
    if not categories:
        return
    text = booster.model_to_string(num_iteration=1)
    [line] = [line for line in text.splitlines() if line.startswith("feature_infos=")]
    codes = [_codes(info) for info in line.partition("=")[2].split(" ")]
    ways = _ways(categories, features, codes) if len(codes) == len(features) else []
    if not ways:
        raise ModelError(
            f"the model has {len(categories)} pandas categories, which do not fit its {len(codes)} "
            f"features and the {len(features)} columns of its signature, by type. {_AS_TEXT}"
        )
    if len(ways) > 1:
        first, second = next(x for x in zip(*ways, strict=True) if x[0] != x[1])
        raise ModelError(
            f"the model has {len(categories)} pandas categories, and one may be the column "
            f"{features[first].column!r} or {features[second].column!r}: LightGBM keeps their "
            f"order, no names. {_AS_TEXT}"
        )
    yield from zip(ways[0], categories, strict=True)


def _codes(info: str) -> list[float]:
    """What LightGBM stores of a feature: its codes (-1 is missing), its range, or nothing."""
    if info == "none":
        return []
    ends = info.startswith("[")
    values = [float(value) for value in info.strip("[]").split(":")]
    return values if ends else [value for value in values if value != -1]


def _ways(
    categories: Sequence[Category],
    features: Sequence[Feature],
    codes_seen: Sequence[Sequence[float]],
) -> list[tuple[int, ...]]:
    """The columns that the categories may be, in order; of several ways only the first two."""
    ways: list[list[tuple[int, ...]]] = [
        *([] for _ in categories),
        [()],
    ]  # for those from the i-th on
    for place in reversed(range(len(features))):
        feature, codes = features[place], codes_seen[place]
        for i, words in enumerate(categories):
            skipped = ways[i] if feature.type != "string" else []
            may = all(0 <= code < len(words.words) and code.is_integer() for code in codes)
            taken = ways[i + 1] if may and words.fits(feature) else []
            ways[i] = [*((place, *way) for way in taken), *skipped][:2]
        ways[-1] = ways[-1] if feature.type != "string" else []
    return ways[0]


def _xgboost(model: Any, features: Sequence[Feature], flavors: Flavors) -> Categories:
    """XGBoost keeps the categories by column in the model from 3.1 on; older models lack them."""
    is_estimator = hasattr(model, "get_booster")
    booster = model.get_booster() if is_estimator else model
    types = booster.feature_types or ()
    if "c" not in types:
        return
    word_lists = (
        [words for _, words in booster.get_categories(export_to_arrow=True).to_arrow()]
        if hasattr(booster, "get_categories")
        else [None] * len(types)
    )
    for place, (type_, words) in enumerate(zip(types, word_lists, strict=True)):
        if words is not None:
            category = Category(words.to_pylist(), coded=not is_estimator)
            if not category.fits(features[place]):
                raise ModelError(
                    f"the column {features[place].column!r}, which the model's signature calls "
                    f"{features[place].type}, is a category of other values. {_AS_TEXT}"
                )
            yield place, category
        elif type_ == "c" and _before(flavors, "3.1"):
            raise ModelError(
                f"the column {features[place].column!r} is a category, whose words XGBoost keeps "
                "in the model from 3.1 on only. Train and log it again with that or a later one"
            )


def _before(flavors: Flavors, version: str) -> bool:
    """Whether the model was logged with an older XGBoost, or with an unknown version."""
    try:
        return Version(str(flavors.get("xgboost", {}).get("xgb_version"))) < Version(version)
    except InvalidVersion:
        return True


_LIBRARIES: dict[str, Callable[[Any, Sequence[Feature], Flavors], Categories]] = {
    "lightgbm": _lightgbm,
    "xgboost": _xgboost,
}


def categories_of(model: Any, features: Sequence[Feature], flavors: Flavors) -> dict[str, Category]:
    """Column -> its categories, from the library's own model.

    Args:
        features: the features in the order of the training data.
        flavors: the flavors that the model was logged with.

    Raises:
        ModelError: the column of a category can't be determined.
    """
    find = _LIBRARIES.get(type(model).__module__.partition(".")[0])
    categories = find(model, features, flavors) if find is not None else ()
    return {features[place].column: category for place, category in categories}
