"""``nocturne init`` with models as MLflow names them, and with those that name no columns."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import mlflow
import numpy as np
import pyarrow as pa
import pytest
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression

from nocturne import config
from nocturne.cli.init import init
from nocturne.cli.init.uri import parse
from nocturne.errors import ConfigError, InputError, ModelError
from nocturne.model import registry
from nocturne.model.tracking import connect
from pipeline.conftest import scored
from strangers.conftest import DAY, Project, read

RANDOM = np.random.default_rng(8)
X = RANDOM.normal(size=(100, 3))
Y = X.sum(axis=1)
FITTED = LinearRegression().fit(X, Y)
TABLE = pa.table({"id": np.arange(100), "b": X[:, 0], "a": X[:, 1], "c": X[:, 2]})
WORDS = TABLE.append_column("word", pa.array(["x"] * 100))


def made(strangers: Project, model: str, table: pa.Table = WORDS, **options: Any) -> Any:
    """``model`` of the YAML that init writes, for a table beside it."""
    strangers.pipeline("source", table, {})
    given = {"input_path": "tables/source", "output_path": None, "keys": ["id"], "force": True}
    init(
        "made",
        model=model,
        root=strangers.root,
        tracking_uri=strangers.uri,
        allow_pickle=True,
        trials=strangers.root / "trials",
        **{**given, **options},
    )
    return config.load("made").pipeline.model


@pytest.mark.long
def test_columns_by_position_if_exactly_as_many_fit(strangers: Project) -> None:
    strangers.register(mlflow.sklearn.log_model, "three", FITTED, signature=infer_signature(X, Y))
    assert made(strangers, "three").inputs == ["b", "a", "c"]
    done = read(scored(config.load("made"), DAY))
    np.testing.assert_allclose(done.column(), FITTED.predict(X), rtol=1e-12)
    more = WORDS.append_column("d", TABLE["a"])
    with pytest.raises(ModelError) as caught:
        made(strangers, "three", more)
    said = str(caught.value)
    assert "no named columns, but tensors (float64 [-1, 3])" in said
    assert "the table has 4 that fit (a, b, c, d). Name them with --feature COLUMN" in said
    assert made(strangers, "three", more, features=["c", "d", "a"]).inputs == ["c", "d", "a"]
    with pytest.raises(ConfigError, match="got 'e', which is no column of the table"):
        made(strangers, "three", more, features=["e"])
    with pytest.raises(ModelError, match=r"which columns it takes: got 2 \(c, d\)"):
        made(strangers, "three", more, features=["c", "d"])
    with pytest.raises(ModelError, match=r"got 3 \(a, c, word\)"):
        made(strangers, "three", more, features=["a", "c", "word"])


def test_a_list_or_several_tensors(strangers: Project) -> None:
    class Sum(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context: Any, model_input: Any) -> Any:
            return sum(array.sum(axis=1) for array in model_input.values())

    example = {"x": X, "y": X[:, :1]}
    strangers.register(
        mlflow.pyfunc.log_model, "pair", python_model=Sum(), signature=infer_signature(example, Y)
    )
    lists = pa.table({"id": np.arange(100), "v": X.tolist(), "c": X[:, 0]})
    assert made(strangers, "pair", lists).inputs == {"x": ["v"], "y": ["c"]}
    columns = WORDS.append_column("d", TABLE["a"])
    assert made(strangers, "pair", columns).inputs == {"x": ["b", "a", "c"], "y": ["d"]}
    strangers.register(mlflow.sklearn.log_model, "list", FITTED, signature=infer_signature(X, Y))
    assert made(strangers, "list", lists.drop_columns(["c"])).inputs == ["v"]


def test_without_a_signature_the_columns_are_named_by_hand(strangers: Project) -> None:
    class Counted(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context: Any, model_input: Any) -> Any:
            return np.ones(len(model_input))

    strangers.register(mlflow.pyfunc.log_model, "bare_init", python_model=Counted())
    with pytest.raises(ModelError, match="has no signature, and nothing says which columns"):
        made(strangers, "bare_init")
    assert made(strangers, "bare_init", features=["b", "a"]).inputs == ["b", "a"]
    typed = made(strangers, "bare_init", features=["b", "word"]).inputs
    assert typed == {"b": "double", "word": "string"}


def test_a_model_that_names_its_columns_takes_no_features(strangers: Project) -> None:
    frame = TABLE.to_pandas()[["a", "b", "c"]]
    strangers.register(
        mlflow.sklearn.log_model, "names", FITTED, signature=infer_signature(frame, Y)
    )
    assert made(strangers, "names").inputs is None
    with pytest.raises(ConfigError, match="the model names names its columns itself"):
        made(strangers, "names", features=["a"])


def test_every_way_in_which_mlflow_names_a_model(strangers: Project, capsys: Any) -> None:
    with mlflow.start_run() as run:
        info = strangers.register(
            mlflow.sklearn.log_model, "uri", FITTED, signature=infer_signature(X, Y)
        )
        loose = mlflow.sklearn.log_model(FITTED, name="loose", pip_requirements=[])
    client = connect(strangers.uri)
    client.set_registered_model_alias("uri", "champion", "1")
    for text, selected in {
        "models:/uri@champion": ("champion", None),
        "models:/uri/1": (None, 1),
        "models:/uri": ("champion", None),
        "uri@champion": ("champion", None),
        info.model_uri: (None, 1),
        f"runs:/{run.info.run_id}/uri": (None, 1),
    }.items():
        model = made(strangers, text)
        assert (model.name, model.alias, model.version) == ("uri", *selected), text
    assert (
        f"uri version 1 is registered from runs:/{run.info.run_id}/uri" in capsys.readouterr().err
    )
    for text in (
        loose.model_uri,
        f"runs:/{run.info.run_id}/loose",
        "runs:/nowhere/model",
        "models:/m-" + "0" * 32,
    ):
        with pytest.raises(ModelError) as caught:
            made(strangers, text)
        assert f'mlflow.register_model("{text}", "NAME")' in str(caught.value)
    for text in ("models:/", "models:/uri/Production", "runs:/", "s3://bucket/model", "uri@"):
        with pytest.raises(ModelError, match="expected NAME, NAME@ALIAS or NAME/VERSION"):
            made(strangers, text)


@pytest.mark.parametrize("name", ["it's", 'say "so"', 'it\'s "so"', "a_b%", "plain"])
def test_names_with_quotes_are_found_and_no_others(strangers: Project, name: str) -> None:
    """MLflow's filters know no escape for a quote."""
    uri = strangers.uri
    client = connect(uri)
    others = {re.sub("['\"_%]", "x", name)} - {name}
    for each in (name, *others):
        client.create_registered_model(each)
        client.create_model_version(each, "/nowhere/it's", run_id=None)
    client.create_model_version(name, "runs:/0/it's")
    client.set_model_version_tag(name, "1", "best", "yes")
    select = partial(registry.version_of, name=name, alias=None, tracking_uri=uri)
    assert select(tags={"best": "yes"}) == 1
    assert [int(v.version) for v in registry.versions_of(client, name)] == [2, 1]
    assert parse(f"models:/{name}/latest", uri) == ((name, None, 2), "the newest, as latest says")
    for text in ("runs:/a'b/c", f"runs:/'\"/{name}"):
        with pytest.raises(ModelError, match="no version of a registered model is runs:/"):
            parse(text, uri)
    assert parse("runs:/0/it's", uri)[0][2] == 2
    for each in (name, *others):
        client.delete_registered_model(each)


@pytest.mark.parametrize("name", ["models:/uri@champion", "models:/uri/1", "runs:/0/uri", "uri/1"])
def test_a_uri_is_no_name_in_the_yaml(strangers: Project, name: str) -> None:
    with pytest.raises(ConfigError, match="expected the name that a model is registered by"):
        strangers.pipeline("other", TABLE, {"name": name})


def test_an_alias_in_the_name_is_pointed_out(strangers: Project) -> None:
    strangers.register(mlflow.sklearn.log_model, "at", FITTED, signature=infer_signature(X, Y))
    loaded = strangers.pipeline("other", TABLE, {"name": "at@champion", "inputs": ["a", "b", "c"]})
    with pytest.raises(ModelError, match="an alias is model.alias: champion"):
        scored(loaded, DAY)


def test_the_data_are_held_against_what_is_named(strangers: Project) -> None:
    frame = TABLE.to_pandas()[["a", "b", "c"]]
    strangers.register(
        mlflow.sklearn.log_model, "held", FITTED, signature=infer_signature(frame, Y)
    )
    with pytest.raises(InputError, match="column 'c' is missing"):
        made(strangers, "held", WORDS.drop_columns(["c"]))
