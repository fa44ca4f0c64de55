"""What scikit-learn's ordinary estimators are made of, as skops writes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import BisectingKMeans
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer
from sklearn.linear_model import LogisticRegression, PoissonRegressor
from sklearn.metrics import f1_score, make_scorer
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, PowerTransformer, SplineTransformer

from nocturne.model.formats import FORMATS

X = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["a", "b"])
Y = (X.a > X.b).astype(int)


def _search(**options: Any) -> GridSearchCV:
    return GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=StratifiedKFold(2), **options)


def _asked(model: Any, folder: Path) -> str | None:
    import skops.io  # it takes seconds, and other files should not wait for it

    path = folder / "model.skops"
    skops.io.dump(model, path)
    return FORMATS["mlflow.sklearn"].check(path, {"serialization_format": "skops"})


@pytest.mark.parametrize(
    "make",
    [
        lambda: make_column_transformer((IterativeImputer(), make_column_selector())),
        lambda: make_pipeline(SplineTransformer(), PowerTransformer(), PoissonRegressor()),
        lambda: BisectingKMeans(2),
        _search,
    ],
)
def test_ordinary_estimators_are_data(tmp_path: Path, make: Callable[[], Any]) -> None:
    assert _asked(make().fit(X, Y), tmp_path) is None


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: _search(scoring=make_scorer(f1_score)), "_Scorer"),
        (lambda: FunctionTransformer(np.save), "numpy.save"),
    ],
)
def test_what_calls_by_name_or_writes_is_not(
    tmp_path: Path, make: Callable[[], Any], named: str
) -> None:
    why = _asked(make().fit(X, Y) if named == "_Scorer" else make(), tmp_path)
    assert why is not None
    assert named in why
