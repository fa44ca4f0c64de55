"""Trees trained on pandas categories, which a signature calls text or numbers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.models import infer_signature
from sklearn.ensemble import HistGradientBoostingRegressor

from nocturne.encoding import Encoding, Feature, TensorSpec
from nocturne.errors import ModelError
from nocturne.pyfunc.categories import Category, _ways
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


@pytest.mark.long
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


N = 300
PLAIN = pd.DataFrame(
    {
        "size": RANDOM.integers(1, 5, N),  # codes 0 to 3
        "code": RANDOM.integers(0, 9, N),
        "z": RANDOM.normal(size=N),
        "grade": RANDOM.choice(["low", "middle", "high"], N),
        "always": ["same"] * N,
        "flag": RANDOM.integers(0, 2, N),
        "sure": RANDOM.normal(size=N) > 0,
        "floor": np.where(RANDOM.random(N) < 0.2, np.nan, RANDOM.integers(1, 4, N)),
    }
)
GRADES = pd.CategoricalDtype(["low", "middle", "high"], ordered=True)
UNSEEN = pd.CategoricalDtype(range(9, -1, -1), ordered=True)
Dtypes = Mapping[str, Any]


def _given(folder: Path, log: Any, model: Any, plain: pd.DataFrame) -> list[float]:
    """What our pyfunc makes of the plain frame, whose signature is the model's."""
    from nocturne.pyfunc.load import load

    signature = infer_signature(plain)
    log.save_model(model, folder, signature=signature, pip_requirements=[])
    features = tuple(Feature(c.name, type=c.type.name) for c in signature.inputs)
    encoding = Encoding((TensorSpec("frame", "frame", "frame", features),), ())
    return list(load(str(folder), encoding).predict([pa.RecordBatch.from_pandas(plain)])[0])


def _boosted(columns: Sequence[str], dtypes: Dtypes, said: Sequence[str]) -> tuple[Any, Any]:
    """A Booster and the frame that it was trained on."""
    lightgbm = pytest.importorskip("lightgbm")
    frame = PLAIN[list(columns)].astype(dict(dtypes))
    y = PLAIN["size"] * 2 + PLAIN["code"] % 3 + PLAIN["grade"].map(len) + PLAIN["z"]
    options = {"categorical_feature": list(said)} if said else {}
    params = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}
    return lightgbm.train(params, lightgbm.Dataset(frame, y, **options), 20), frame


@pytest.mark.parametrize(
    ("columns", "dtypes", "said"),
    [
        (["size", "z"], {"size": "category"}, []),
        (["z", "grade"], {"grade": GRADES}, []),
        (["size", "grade", "z"], {"size": "category", "grade": GRADES}, ["size"]),
        (["code", "grade", "z"], {"grade": "category"}, ["code"]),
        (["always", "grade", "z"], {"grade": "category", "always": "category"}, []),
        (["z", "sure", "flag"], {"sure": "category"}, []),
        (["grade", "floor", "z"], {"grade": GRADES, "floor": "category"}, ["grade"]),
        (["code", "z", "size"], {"size": "category"}, ["code"]),
    ],
)
def test_a_booster_is_right_whatever_was_a_category(
    tmp_path: Path, columns: Sequence[str], dtypes: Dtypes, said: Sequence[str]
) -> None:
    booster, frame = _boosted(columns, dtypes, said)
    log, plain = mlflow.lightgbm, PLAIN[list(columns)]
    np.testing.assert_array_equal(
        _given(tmp_path / "m", log, booster, plain), booster.predict(frame)
    )


@pytest.mark.parametrize(
    ("columns", "dtypes", "said"),
    [
        (["size", "flag", "z"], {"size": "category"}, []),
        (["code", "size", "z"], {"size": UNSEEN}, ["code"]),
    ],
)
def test_a_booster_whose_category_may_be_several_columns_is_refused(
    tmp_path: Path, columns: Sequence[str], dtypes: Dtypes, said: Sequence[str]
) -> None:
    booster, _ = _boosted(columns, dtypes, said)
    with pytest.raises(ModelError, match=r"may be the column '(size|code)' or .* as categories of"):
        _given(tmp_path / "m", mlflow.lightgbm, booster, PLAIN[list(columns)])


def test_a_booster_of_numbers_that_the_signature_calls_words_is_refused(tmp_path: Path) -> None:
    booster, _ = _boosted(["size", "z"], {"size": "category"}, [])
    with pytest.raises(ModelError, match="do not fit its 2 features and the 2 columns"):
        _given(tmp_path / "m", mlflow.lightgbm, booster, PLAIN[["size", "z"]].astype({"size": str}))


def test_ways_are_all_choices_in_order_that_fit() -> None:
    random = np.random.default_rng(3)
    for _ in range(300):
        n = int(random.integers(1, 7))
        features = [Feature("c", type=str(random.choice(["string", "long"]))) for _ in range(n)]
        seen = [[0.0, float(random.integers(0, 3))] for _ in range(n)]
        words = ([1, 2], ["a", "b"], [1, 2, 3], ["a", "b", "c"])
        known = [Category(words[i]) for i in random.integers(0, 4, random.integers(1, 4))]
        every = [
            way
            for way in itertools.combinations(range(n), len(known))
            if all(
                words.fits(features[i]) and max(seen[i]) < len(words.words)
                for words, i in zip(known, way, strict=True)
            )
            and all(i in way for i in range(n) if features[i].type == "string")
        ]
        found = _ways(known, features, seen)
        assert len(found) == min(2, len(every))
        assert set(found) <= set(every)


def _xgboosted(folder: Path, plain: pd.DataFrame) -> tuple[list[float], list[float]]:
    xgboost = pytest.importorskip("xgboost", minversion="3.1")
    frame = PLAIN[["code", "size", "z"]].astype({"size": "category"})
    matrix = xgboost.DMatrix(frame, PLAIN["size"] * 2 + PLAIN["z"], enable_categorical=True)
    booster = xgboost.train({"nthread": 1}, matrix, 10)
    return _given(folder, mlflow.xgboost, booster, plain), list(booster.predict(matrix))


def test_xgboost_knows_its_columns(tmp_path: Path) -> None:
    plain = PLAIN[["code", "size", "z"]]
    assert np.array_equal(*_xgboosted(tmp_path / "m", plain))
    with pytest.raises(ModelError, match="'size', which the model's signature calls string"):
        _xgboosted(tmp_path / "other", plain.astype({"size": str}))


def test_categories_of_an_xgboost_that_did_not_keep_them_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    xgboost = pytest.importorskip("xgboost", minversion="3.1")
    plain = PLAIN[["code", "z"]]
    matrix = xgboost.DMatrix(plain, PLAIN["z"], feature_types=["c", "q"], enable_categorical=True)
    booster = xgboost.train({"nthread": 1}, matrix, 10)
    given = _given(tmp_path / "m", mlflow.xgboost, booster, plain)
    assert np.array_equal(given, booster.predict(matrix))  # given codes, it takes codes
    monkeypatch.setattr(xgboost, "__version__", "3.0.5")
    with pytest.raises(ModelError, match="'code' is a category, whose words XGBoost keeps"):
        _given(tmp_path / "older", mlflow.xgboost, booster, plain)
