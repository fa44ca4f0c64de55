"""Trees trained on pandas categories, which a signature calls text or numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.models import infer_signature
from sklearn.ensemble import HistGradientBoostingRegressor

from strangers.conftest import Project

RANDOM = np.random.default_rng(9)
CITIES = ["Wien", "Graz", "Linz", "Berlin"]
ZONES = [30, 10, 20]
FRAME = pd.DataFrame(
    {
        "x": RANDOM.normal(size=400),
        "city": pd.Categorical(RANDOM.choice(CITIES, 400), categories=CITIES),
        "zone": pd.Categorical(RANDOM.choice(ZONES, 400), categories=ZONES),
    }
)
Y = FRAME.x + FRAME.city.cat.codes * 3.0 + (FRAME.zone.cat.codes == 1) * 20.0
NIGHT = pa.table(
    {
        "x": RANDOM.normal(size=6),
        "city": ["Linz", "Berlin", "Mars", None, "Linz", "Graz"],
        "zone": [20, 10, 30, 20, 10, 99],
    }
)
SEEN = NIGHT.to_pandas().astype({"city": FRAME.city.dtype, "zone": FRAME.zone.dtype})
"""As the training frame has it: what was not there is missing."""


def _lightgbm(api: str) -> tuple[Any, Any]:
    lightgbm = pytest.importorskip("lightgbm")
    fitted = lightgbm.LGBMRegressor(n_estimators=20, min_child_samples=5, verbose=-1, n_jobs=1).fit(
        FRAME, Y
    )
    return mlflow.lightgbm.log_model, fitted if api == "sklearn" else fitted.booster_


def _xgboost(api: str) -> tuple[Any, Any]:
    xgboost = pytest.importorskip("xgboost", minversion="3.1")
    fitted = xgboost.XGBRegressor(n_estimators=20, enable_categorical=True, n_jobs=1).fit(FRAME, Y)
    return mlflow.xgboost.log_model, fitted if api == "sklearn" else fitted.get_booster()


def _predicted(model: Any) -> list[float]:
    if type(model).__module__.startswith("xgboost.core"):
        import xgboost

        return list(model.predict(xgboost.DMatrix(SEEN, enable_categorical=True)))
    return list(model.predict(SEEN))


@pytest.mark.parametrize("api", ["sklearn", "booster"])
@pytest.mark.parametrize("make", [_lightgbm, _xgboost])
def test_codes_are_those_of_training(
    strangers: Project, make: Callable[[str], tuple[Any, Any]], api: str
) -> None:
    log, model = make(api)
    name = f"{make.__name__[1:]}_{api}_of_categories"
    strangers.register(log, name, model, signature=infer_signature(FRAME, Y))
    done = strangers.score(name, NIGHT)
    assert done.reasons == {}
    np.testing.assert_allclose(done.column(), _predicted(model), rtol=1e-6)


def test_scikit_learns_own_trees(strangers: Project) -> None:
    frame = FRAME[["x", "city"]]
    fitted = HistGradientBoostingRegressor(max_iter=20, categorical_features="from_dtype")
    fitted.fit(frame, Y)
    strangers.register(
        mlflow.sklearn.log_model,
        "hist",
        fitted,
        signature=infer_signature(frame, Y),
        serialization_format="cloudpickle",
    )
    done = strangers.score("hist", NIGHT)
    expected = fitted.predict(SEEN[["x", "city"]])
    np.testing.assert_allclose(done.column(), expected, rtol=1e-12)
