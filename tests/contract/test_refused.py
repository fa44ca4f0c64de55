"""What is refused before anything is logged: specs that are none, names that are taken."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pyarrow as pa
import pytest
import torch

from nocturne.contract.handed_in import log_handed_in, settled
from nocturne.contract.kinds.pt2 import of_pt2
from nocturne.contract.specs import read_encoding
from nocturne.contract.versions import register
from nocturne.encoding import Encoding, Feature, OutputSpec, TensorSpec
from nocturne.errors import ConfigError, ModelError

DATA = pa.table({"x": [1.0, 2.0, 3.0]})


def _encoding(output: str) -> Encoding:
    tensor = TensorSpec("input", "float32", "numeric", (Feature("x"),))
    return Encoding((tensor,), (OutputSpec(output),))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows = ({0: torch.export.Dim.DYNAMIC},)
    program = torch.export.export(torch.nn.Tanh(), (torch.zeros(4, 1),), dynamic_shapes=rows)
    torch.export.save(program, tmp_path / "model.pt2")
    return tmp_path / "model.pt2"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("inputs: [{name: a, fill: 2024-01-01}]", "date is not JSON.*Quote what is text"),
        ("inputs: !!binary aGVsbG8=", "bytes is not JSON"),
        ("inputs: !!set {a, b}", "set is not JSON"),
        ("inputs: [{2024-01-01: a}]", "keys must be str"),
    ],
)
def test_yaml_that_is_no_json_is_no_encoding(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_encoding(tmp_path / "a.yaml")


@pytest.mark.parametrize("text", ["null", '{"inputs": ', '{"inputs": 5}'])
def test_a_damaged_encoding_says_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ModelError, match="damaged. Correct it") as caught:
        read_encoding(tmp_path / "a.json")
    assert "partition" not in str(caught.value)


def test_the_name_of_a_prompt_is_refused_before_anything_is_logged(
    file: Path, tmp_path: Path
) -> None:
    uri, before = f"sqlite:///{tmp_path / 'mlflow.db'}", mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        client = mlflow.MlflowClient()
        client.register_prompt("taken", "hello {{x}}")
        with pytest.raises(ModelError, match="'taken' is the name of a prompt"):
            log_handed_in(
                of_pt2(file),
                _encoding("score"),
                DATA,
                name="taken",
                allow_pickle=False,
                registered_model_name="taken",
            )
        assert not client.search_logged_models(["0"])
        with pytest.raises(ModelError, match="'taken' is the name of a prompt"):
            register("m-" + "0" * 32, "taken")
    finally:
        mlflow.set_tracking_uri(before)


@pytest.mark.parametrize("name", ["model_version", "Model_Version"])
def test_an_output_is_not_called_as_a_column_of_nocturne(file: Path, name: str) -> None:
    for output in (OutputSpec(name), OutputSpec(name, type="any")):
        encoding = Encoding(_encoding("").inputs, (output,))
        with pytest.raises(ModelError, match=f"output '{name}' has the name of a column"):
            settled(of_pt2(file), encoding, DATA)
