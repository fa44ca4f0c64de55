"""``model.params`` reach the model, decide its scores, and are held against its signature."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.models import infer_signature

from nocturne.errors import ConfigError, ModelError
from nocturne.model.encoding import Encoding, Feature, OutputSpec, TensorSpec
from nocturne.operate.verify import verify_partition
from nocturne.pipeline import prepare
from nocturne.store.files import digest
from pipeline.conftest import night_of
from strangers.conftest import DAY, Project, night

TABLE = pa.table({"x": [1.0, 2.0, 3.0]})
PARAMS = {"times": 2.0, "add": [0, 0], "name": "plain", "since": dt.datetime(2020, 1, 1)}


@pytest.fixture
def scaled(strangers: Project) -> Project:
    """With the model "scaled", which multiplies and adds what it is told."""

    class Scaled(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            year = np.datetime64(params["since"]).astype("datetime64[Y]").astype(int) + 1970
            return model_input["x"] * params["times"] + sum(params["add"]) + (year - 2020)

    frame = pd.DataFrame({"x": [1.0]})
    signature = infer_signature(frame, [1.0], params=PARAMS)
    strangers.register(
        mlflow.pyfunc.log_model, "scaled", python_model=Scaled(), signature=signature
    )
    return strangers


def test_what_is_given_reaches_the_model_and_a_replay(scaled: Project) -> None:
    assert scaled.score("scaled", TABLE).column() == [2.0, 4.0, 6.0]
    given = {"times": 3, "add": [1, 1], "since": dt.date(2021, 1, 1)}
    loaded = scaled.pipeline("scaled", TABLE, {"params": given})
    night_of(loaded, DAY)
    found = verify_partition(loaded, night(loaded), replay=None)
    assert [one.outcome for one in found.replayed] == ["bit-equal"]
    done = scaled.score("scaled", TABLE, params={**given, "times": 4})
    assert done.column() == [7.0, 11.0, 15.0]


def test_other_params_are_another_run_and_none_are_as_before(scaled: Project) -> None:
    def key(**model: Any) -> str:
        loaded = scaled.pipeline("scaled", TABLE, model)
        run = prepare(loaded, night(loaded), dry_run=True).run
        assert run is not None
        return run.plan.content_key

    assert key() == key(params={})
    assert len({key(), key(params={"times": 3.0}), key(params={"times": 4.0})}) == 3


def test_what_is_not_given_leaves_run_keys_as_they_were() -> None:
    """The digest is that of an encoding before there were params and shapes."""
    numbers = TensorSpec("frame", "frame", "frame", (Feature("x", type="long"),))
    lists = TensorSpec("t", "int64", "list", (Feature("v", length=2),))
    encoding = Encoding((numbers, lists), (OutputSpec("p"),))
    before = "038d09ada38c5400a67dbcd123d16e9b0eeaf670d70bf195e6975edb2df6c8d2"
    assert digest(encoding.to_json()) == before
    assert digest(replace(encoding, params={"t": 1}).to_json()) != before
    shaped = replace(encoding, inputs=(numbers, replace(lists, shape=(1, 2))))
    assert Encoding.from_json(shaped.to_json()) == shaped


def test_a_param_that_the_model_does_not_take_is_refused_before_scoring(scaled: Project) -> None:
    frame = pd.DataFrame({"x": [1.0]})
    scaled.register(
        mlflow.pyfunc.log_model,
        "without",
        python_model=lambda model_input: model_input["x"],
        signature=infer_signature(frame, [1.0]),
    )

    def refused(name: str, **params: Any) -> str:
        loaded = scaled.pipeline(name, TABLE, {"params": params})
        with pytest.raises((ConfigError, ModelError)) as caught:
            prepare(loaded, night(loaded), dry_run=True)
        return str(caught.value)

    known = "takes times (double, 2.0 if not given), add (list of long, [0, 0] if not given)"
    said = refused("scaled", tims=3.0)
    assert "got tims (did you mean times?)" in said
    assert known in said
    assert f"times is 'three', which is no double; model scaled version 1 {known}" in refused(
        "scaled", times="three"
    )
    assert "add is 1, which is no list of long" in refused("scaled", add=1)
    assert "takes no params" in refused("without", times=3.0)
