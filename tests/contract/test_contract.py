"""The training side of the model contract, against a real MLflow registry on SQLite."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import mlflow.artifacts
import mlflow.sklearn
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from nocturne import contract
from nocturne.encoding import ENCODING_FILE, Encoding, OutputSpec
from nocturne.engine import TorchModel, load_torch
from nocturne.errors import InputError, ModelError
from nocturne.model import registry
from nocturne.model.digests import DIGEST
from nocturne.model.tracking import connect, experiment_id
from nocturne.records.drift import Baseline
from nocturne.store.record_files import read


class Tiny(torch.nn.Module):
    """An embedding, a dense layer and a dropout that must be off once it is logged."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.cities = torch.nn.Embedding(4, 2)
        self.dense = torch.nn.Linear(4, 1)
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, numbers: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        x = torch.cat([numbers, self.cities(codes[:, 0])], dim=1)
        logits: torch.Tensor = self.dense(self.dropout(x))
        return logits


class FixedRows(torch.nn.Module):
    def forward(self, numbers: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        return numbers.reshape(32, 2).sum(dim=1)


@torch.library.custom_op("nocturne_tests::twice", mutates_args=())
def twice(x: torch.Tensor) -> torch.Tensor:
    return x * 2


@twice.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


class OfAnotherLibrary(torch.nn.Module):
    def forward(self, numbers: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        doubled: torch.Tensor = torch.ops.nocturne_tests.twice(numbers)
        return doubled[:, 0]


class Branching(torch.nn.Module):
    def forward(self, numbers: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        return numbers[:, 0] if numbers.sum() > 0 else -numbers[:, 0]


class Ranked(torch.nn.Module):
    def forward(self, numbers: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        return numbers[:, 0].argsort().argsort().to(torch.float32)


class TwoOutputs(torch.nn.Module):
    def forward(
        self, numbers: torch.Tensor, codes: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return numbers[:, 0], numbers[:, 1]


def _data(rows: int = 300) -> pa.Table:
    random = np.random.default_rng(5)
    age = random.normal(40, 10, rows)
    return pa.table(
        {
            "age": pa.array(age, mask=random.random(rows) < 0.1),
            "visits": pa.array(random.integers(0, 9, rows).astype("int32")),
            "city": pa.array(random.choice(["Graz", "Linz", "Wien"], rows).tolist()),
            "ds": pa.array([f"2024-01-0{1 + i % 3}" for i in range(rows)]),
        }
    )


DATA = _data()
ENCODING = contract.infer_encoding(
    DATA,
    numeric=["age", "visits"],
    categories=["city"],
    outputs=[OutputSpec("risk", post="sigmoid")],
)


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry of its own, with an active run; MLflow's current URIs are put back after."""
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    uri = f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"
    client = connect(uri)
    with mlflow.start_run(experiment_id=experiment_id(client, "training")):
        yield uri
    mlflow.set_tracking_uri(before[0])
    mlflow.set_registry_uri(before[1])
    os.environ.pop("MLFLOW_REGISTRY_URI", None)  # MLflow's own word, which would count as ours


@pytest.fixture(scope="module")
def logged(tracking: str) -> contract.LoggedModel:
    return contract.log_torch_model(
        Tiny().train(),
        ENCODING,
        DATA,
        name="tiny",
        partitions=DATA["ds"],
        registered_model_name="tiny",
        alias="champion",
        tags={"stage": "production"},
    )


@pytest.fixture(scope="module")
def downloaded(logged: contract.LoggedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("downloaded")
    uri = f"models:/{logged.name}/{logged.version}"
    return Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder)))


def test_the_registered_version_brings_its_encoding_and_its_baseline(
    logged: contract.LoggedModel, downloaded: Path
) -> None:
    assert logged.version == 1
    assert Encoding.from_json((downloaded / ENCODING_FILE).read_bytes()) == ENCODING
    assert read(Baseline, downloaded / registry.BASELINE_FILE) == logged.baseline


def test_the_version_carries_the_alias_and_the_tags(logged: contract.LoggedModel) -> None:
    version = mlflow.MlflowClient().get_model_version_by_alias("tiny", "champion")
    assert int(version.version) == logged.version
    assert dict(version.tags).keys() == {"stage", DIGEST}
    assert version.tags["stage"] == "production"


def test_the_night_resolves_it_to_a_torch_model_without_pickles(
    logged: contract.LoggedModel, tracking: str, tmp_path: Path
) -> None:
    found = registry.resolve(
        name="tiny",
        alias="champion",
        tags=None,
        version=None,
        allow_pickle=False,
        tracking_uri=tracking,
        models=tmp_path,
    )
    assert found.ref.backend == "torch"
    assert found.encoding == ENCODING
    assert found.baseline == logged.baseline


@pytest.mark.parametrize("rows", [1, 2, 31, 1000])
def test_the_exported_graph_takes_any_number_of_rows(downloaded: Path, rows: int) -> None:
    module = load_torch(str(downloaded), ENCODING).run
    [found] = module(torch.ones(rows, 2), torch.zeros(rows, 1, dtype=torch.int64))
    assert found.shape == (rows, 1)


def test_it_is_logged_in_evaluation_mode_and_the_module_is_left_as_it_was(
    downloaded: Path,
) -> None:
    expected = contract.predict(TorchModel(Tiny().eval()), ENCODING, DATA)
    found = contract.predict(load_torch(str(downloaded), ENCODING), ENCODING, DATA)
    np.testing.assert_allclose(found["risk"].to_numpy(), expected["risk"].to_numpy(), rtol=1e-6)


def test_logging_does_not_change_the_module(tracking: str) -> None:
    module = Tiny().train()
    made = contract.log_torch_model(module, ENCODING, DATA, name="tiny")
    assert module.training
    assert (made.name, made.version) == (None, None)
    local = mlflow.artifacts.download_artifacts(made.model_uri)
    assert (Path(local) / registry.BASELINE_FILE).is_file()


def test_the_baseline_counts_every_row_of_every_partition(
    logged: contract.LoggedModel,
) -> None:
    assert logged.baseline.outputs == ("risk",)
    assert set(logged.baseline.columns) == {"age", "visits", "city", "risk"}
    for column in logged.baseline.columns.values():
        assert set(column.partitions) == {"2024-01-01", "2024-01-02", "2024-01-03"}
        assert sum(column.counts) == DATA.num_rows
        assert [sum(counts) for counts in column.partitions.values()] == [100, 100, 100]
    age, ages = logged.baseline.columns["age"], DATA["age"].drop_null().to_numpy()
    assert age.kind == "numeric"
    assert age.center == float(np.median(ages))
    assert age.counts[-1] == DATA["age"].null_count > 0
    assert logged.baseline.columns["city"].known == ("Graz", "Linz", "Wien")


def test_the_encoding_learns_fill_centre_scale_and_vocabulary() -> None:
    numbers, codes = ENCODING.inputs
    ages = DATA["age"].drop_null().to_numpy()
    assert (numbers.name, numbers.dtype, codes.name, codes.dtype) == (
        "numbers",
        "float32",
        "codes",
        "int64",
    )
    age = numbers.features[0]
    assert (age.fill, age.center, age.scale) == pytest.approx(
        (np.median(ages), ages.mean(), ages.std())
    )
    assert codes.features[0].vocabulary == ("Graz", "Linz", "Wien")
    assert codes.features[0].unknown == 3


def test_a_constant_column_and_an_empty_one_are_encoded_without_dividing_by_zero() -> None:
    table = pa.table({"same": [7, 7], "none": pa.nulls(2, pa.float64())})
    encoding = contract.infer_encoding(table, numeric=["same", "none"], outputs=["y"])
    assert contract.tensors(table, encoding)[0].tolist() == [[0, 0], [0, 0]]
    assert [tensor.name for tensor in encoding.inputs] == ["numbers"]


def test_a_constant_is_not_scaled_by_what_rounding_makes_of_its_deviation() -> None:
    table = pa.table({"x": [0.1] * 1000})
    assert table["x"].to_numpy().std() > 0
    [feature] = contract.infer_encoding(table, numeric=["x"], outputs=["y"]).inputs[0].features
    assert (feature.center, feature.scale) == (0.1, 1.0)


def test_integer_and_dictionary_categories_get_codes_in_order_and_unknown_the_last() -> None:
    table = pa.table({"hour": [20, 5, None], "word": pa.array(["b", "a", "b"]).dictionary_encode()})
    encoding = contract.infer_encoding(table, categories=["hour", "word"], outputs=["y"])
    night = pa.table({"hour": [5, 6, None], "word": ["a", "b", "c"]})
    assert contract.tensors(night, encoding)[0].tolist() == [[0, 0], [2, 1], [2, 2]]


def test_parts_of_dates_are_learnt_as_numbers_are() -> None:
    days = [dt.date(2013, 1, 7), dt.date(2013, 1, 8), None]
    table = pa.table({"day": pa.array(days).dictionary_encode()})
    dates = {"day": ["day_of_week", "month"]}
    encoding = contract.infer_encoding(table, dates=dates, outputs=["y"])
    [week, month] = encoding.inputs[0].features
    assert (week.part, week.fill, week.center, week.scale) == ("day_of_week", 0.5, 0.5, 0.5)
    assert (month.part, month.fill, month.center, month.scale) == ("month", 1.0, 1.0, 1.0)
    assert contract.tensors(table, encoding)[0].tolist() == [[-1, 0], [1, 0], [0, 0]]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"numeric": ["size"]}, "no column 'size'.*age, city, ds, visits"),
        ({"numeric": ["city"]}, "'city' is string, expected a number.*categories"),
        ({"categories": ["age"]}, "'age' is double, expected strings or integers.*numeric"),
        ({"dates": {"age": ["month"]}}, "'age' is double, expected a date or a time"),
        ({"dates": {"age": ["week"]}}, "'age': part 'week', expected day, day_of_week"),
        ({}, "at least one column"),
    ],
)
def test_an_encoding_that_can_not_be_learnt_is_refused(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        contract.infer_encoding(DATA, outputs=["y"], **asked)


def test_a_category_without_any_value_is_refused() -> None:
    with pytest.raises(InputError, match="'x' has no value.*leave the column out"):
        contract.infer_encoding(
            pa.table({"x": pa.nulls(3, pa.string())}), categories=["x"], outputs=["y"]
        )


def test_data_without_a_column_of_the_encoding_are_refused() -> None:
    with pytest.raises(InputError, match="don't fit the encoding: column 'city' is missing"):
        contract.tensors(DATA.drop_columns("city"), ENCODING)


def test_training_data_that_a_night_would_cast_are_to_be_cast_before() -> None:
    age = DATA["age"].cast(pa.string())
    data = DATA.set_column(DATA.schema.get_field_index("age"), "age", age)
    with pytest.raises(
        InputError, match=r"the training data have to be cast before \(table.cast\)"
    ):
        contract.tensors(data, ENCODING)


def test_a_baseline_needs_one_prediction_and_one_label_a_row() -> None:
    predictions = pa.table({"risk": [0.5] * 299})
    with pytest.raises(InputError, match="300 rows of training data, 299 predictions and 300"):
        contract.baseline(DATA, predictions, partitions=DATA["ds"])


def test_a_prediction_named_like_a_column_is_refused() -> None:
    with pytest.raises(InputError, match="age is both a column .* and a prediction"):
        contract.baseline(DATA, DATA.select(["age"]))


def test_a_baseline_without_partitions_is_one_partition_of_the_columns_it_can_count() -> None:
    data = DATA.append_column("when", pa.array([0] * 300, pa.timestamp("us")))
    made = contract.baseline(data, pa.table({"prediction": [0.5] * 300}))
    assert set(made.columns) == {"age", "visits", "city", "ds", "prediction"}
    assert set(made.columns["age"].partitions) == {"all"}


def test_the_centre_of_a_float32_column_is_a_float32_which_is_counted_faster() -> None:
    values = np.array([0.1, 0.2, 0.4, 0.7], np.float32)  # the median lies between two of them
    data = pa.table({"narrow": values, "wide": values.astype(np.float64)})

    made = contract.baseline(data, pa.table({"prediction": [0.5] * 4}))

    narrow, wide = (made.columns[name].center or 0.0 for name in ("narrow", "wide"))
    assert float(np.float32(narrow)) == narrow != wide
    assert wide == pytest.approx(narrow, rel=1e-7)


def test_rows_that_the_model_can_not_score_are_missing_in_the_predictions() -> None:
    class Root(torch.nn.Module):
        def forward(self, numbers: torch.Tensor) -> torch.Tensor:
            return torch.sqrt(numbers[:, 0])

    table = pa.table({"x": [4.0, -1.0]})
    encoding = contract.infer_encoding(pa.table({"x": [-1.0, 1.0]}), numeric=["x"], outputs=["y"])
    assert contract.predict(TorchModel(Root()), encoding, table)["y"].to_pylist() == [2.0, None]


@pytest.mark.usefixtures("tracking")
def test_operators_of_another_library_are_logged_with_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"model.allow_pickle: true.*nocturne_tests.twice"):
        made = contract.log_torch_model(OfAnotherLibrary(), ENCODING, DATA, name="other")
    assert made.model_uri.startswith("models:/")


def test_alias_and_tags_without_a_registered_name_are_refused() -> None:
    with pytest.raises(ModelError, match="registered_model_name"):
        contract.log_torch_model(Tiny(), ENCODING, DATA, name="tiny", alias="champion")


def test_a_single_row_is_refused_since_it_would_fix_the_number_of_rows() -> None:
    with pytest.raises(InputError, match="got 1 rows .*, expected at least 2"):
        contract.log_torch_model(Tiny(), ENCODING, DATA.slice(0, 1), name="tiny")


def test_a_graph_fixed_to_the_rows_of_the_example_is_not_registered(tracking: str) -> None:
    with pytest.raises(ModelError, match="can't score its own training data.*any number of rows"):
        contract.log_torch_model(
            FixedRows(), ENCODING, DATA, name="fixed", registered_model_name="fixed"
        )
    assert not mlflow.MlflowClient().search_registered_models("name = 'fixed'")


def test_a_module_that_can_not_be_exported_is_said_with_its_inputs(tracking: str) -> None:
    with pytest.raises(ModelError, match=r"numbers float32\[rows, 2\], codes int64\[rows, 1\]"):
        contract.log_torch_model(Branching(), ENCODING, DATA, name="branching")


def test_a_module_that_mixes_rows_is_not_registered(tracking: str) -> None:
    with pytest.raises(ModelError, match="if the rows that come with it are others"):
        contract.log_torch_model(
            Ranked(), ENCODING, DATA, name="ranked", registered_model_name="ranked"
        )
    assert not mlflow.MlflowClient().search_registered_models("name = 'ranked'")


def test_outputs_that_the_encoding_does_not_name_are_refused(tracking: str) -> None:
    with pytest.raises(ModelError, match="returned 2 outputs, and 1 are declared"):
        contract.log_torch_model(TwoOutputs(), ENCODING, DATA, name="two")


def test_a_model_of_another_flavor_carries_a_baseline_too(tracking: str) -> None:
    frame = DATA.select(["age", "visits"]).to_pandas().fillna(40.0)
    late = frame["visits"] > 4
    model = LogisticRegression().fit(frame, late)
    predictions = pd.DataFrame({"prediction": model.predict(frame).astype("int64")})
    info = mlflow.sklearn.log_model(
        model,
        name="linear",
        signature=mlflow.models.infer_signature(frame, predictions["prediction"].to_numpy()),
        pip_requirements=["scikit-learn"],
    )
    made = contract.baseline(
        pa.Table.from_pandas(frame), pa.Table.from_pandas(predictions), partitions=DATA["ds"]
    )
    version = contract.register(info, "linear", alias="champion", baseline=made)
    local = mlflow.artifacts.download_artifacts(f"models:/linear/{version.version}")
    assert read(Baseline, Path(local) / registry.BASELINE_FILE) == made
    assert mlflow.pyfunc.load_model(local).predict(frame).shape == (300,)


@pytest.mark.parametrize("model", ["runs:/123/model", SimpleNamespace()])
def test_only_a_logged_model_can_be_registered(model: object) -> None:
    with pytest.raises(ModelError, match=r"expected what mlflow\.<flavor>\.log_model"):
        contract.register(model, "tiny")


def test_importance_is_of_columns_of_the_data() -> None:
    data, predictions = DATA.select(["age"]), pa.table({"prediction": [0.5] * len(DATA)})
    made = contract.baseline(data, predictions, importance={"age": 2.5})
    assert made.importance == {"age": 2.5}
    for wrong in ({"aeg": 1.0}, {"age": -1.0}, {"age": float("nan")}):
        with pytest.raises(InputError, match="importance has a.*expected columns of the training"):
            contract.baseline(data, predictions, importance=wrong)
