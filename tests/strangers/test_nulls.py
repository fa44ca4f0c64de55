"""Nulls in integers and booleans: as the model was trained with them, or one plain sentence."""

from __future__ import annotations

from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.models import infer_signature
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression

from strangers.conftest import Project

RANDOM = np.random.default_rng(6)
VISITS = RANDOM.integers(0, 50, 300)
VIP = RANDOM.random(300) < 0.5
Y = VISITS + 10.0 * VIP
MISSING = np.arange(300) % 7 == 0
SAID = "column {} is null, and the model takes {} there (its signature says {})"


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("visits", VISITS, ("whole numbers", "long")),
        ("small", VISITS.astype(np.int32), ("whole numbers", "integer")),
        ("vip", VIP, ("true or false", "boolean")),
    ],
)
def test_what_a_signature_has_no_null_for_is_said_in_one_sentence(
    strangers: Project, column: str, values: Any, words: tuple[str, str]
) -> None:
    frame = pd.DataFrame({"x": RANDOM.normal(size=300), column: values})
    fitted = LinearRegression().fit(frame, Y)
    strangers.register(
        mlflow.sklearn.log_model, f"plain_{column}", fitted, signature=infer_signature(frame, Y)
    )
    table = pa.table({"x": frame.x, column: pa.array(values, mask=MISSING)})
    done = strangers.score(f"plain_{column}", table)
    assert set(done.reasons.values()) == {SAID.format(column, *words)}
    assert sorted(done.reasons) == np.flatnonzero(MISSING).tolist()
    np.testing.assert_allclose(done.column(), fitted.predict(frame[~MISSING]), rtol=1e-12)


def test_a_null_is_nan_where_the_signature_says_double(strangers: Project) -> None:
    frame = pd.DataFrame({"visits": np.where(MISSING, np.nan, VISITS), "vip": VIP.astype(float)})
    fitted = HistGradientBoostingRegressor(max_iter=5).fit(frame, Y)
    strangers.register(
        mlflow.sklearn.log_model,
        "double",
        fitted,
        signature=infer_signature(frame, Y),
        serialization_format="cloudpickle",
    )
    table = pa.table({"visits": pa.array(VISITS, mask=MISSING), "vip": pa.array(VIP)})
    assert strangers.score("double", table).column() == fitted.predict(frame).tolist()


def test_a_model_trained_with_nulls_in_integers_and_booleans_takes_them(strangers: Project) -> None:
    """pandas' own types for them: the signature says optional long and boolean."""
    frame = pd.DataFrame(
        {
            "visits": pd.array(np.where(MISSING, None, VISITS.astype(object)), "Int64"),
            "vip": pd.array(np.where(MISSING, None, VIP.astype(object)), "boolean"),
        }
    )
    fitted = HistGradientBoostingRegressor(max_iter=5).fit(frame, Y)
    signature = infer_signature(frame, Y)
    strangers.register(
        mlflow.sklearn.log_model,
        "masked",
        fitted,
        signature=signature,
        serialization_format="cloudpickle",
    )
    table = pa.table({"visits": pa.array(VISITS, mask=MISSING), "vip": pa.array(VIP, mask=MISSING)})
    done = strangers.score("masked", table)
    assert done.reasons == {}
    assert done.column() == fitted.predict(frame).tolist()
