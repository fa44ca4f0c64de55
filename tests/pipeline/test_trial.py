"""The process in which a model is tried, and the nights that are planned with what it found."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from mlflow.models import infer_signature

from nocturne import config
from nocturne.encoding import Encoding, OutputSpec, with_nulls
from nocturne.errors import ConfigError, ModelError
from nocturne.model.registry import Resolved
from nocturne.model.tracking import connect, experiment_id
from nocturne.operate.verify import verify_partition
from nocturne.pipeline import prepare, trial
from nocturne.records.plan import ModelRef
from nocturne.source.sample import SampleFiles
from nocturne.trial import TrialAnswer, TrialRequest

from .conftest import night_of, run_of, scored

Stranger = Callable[..., config.Loaded]
DAY = "2024-01-01"
FRAME = pd.DataFrame({"a": np.linspace(0, 1, 50), "b": np.linspace(1, 0, 50)})


class Model(mlflow.pyfunc.PythonModel):
    """Returns what a function makes of the frame."""

    def __init__(self, predict: Callable[[pd.DataFrame], Any]) -> None:
        self.made = predict

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        return self.made(model_input)


@pytest.fixture(autouse=True, scope="module")
def _whole() -> Iterator[None]:
    """What is registered here can be loaded where this file can't be imported."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def stranger(project: Callable[..., config.Loaded]) -> Stranger:
    """Registers a PythonModel and writes its YAML, with a night of 300 rows."""

    def make(predict: Any, predictions: Any = None, **said: dict[str, Any]) -> config.Loaded:
        loaded = project()
        client = connect(f"sqlite:///{loaded.home / 'var' / 'mlflow' / 'mlflow.db'}")
        mlflow.set_experiment(experiment_id=experiment_id(client, f"s-{loaded.home.name}"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mlflow.pyfunc.log_model(
                name="s",
                python_model=Model(predict),
                registered_model_name="s",
                signature=infer_signature(FRAME, predictions),
                pip_requirements=[],
            )
        folder = loaded.home / "tables" / "s" / f"ds={DAY}"
        folder.mkdir(parents=True)
        a = np.linspace(0, 1, 300)
        pq.write_table(pa.table({"id": range(300), "a": a, "b": a[::-1]}), folder / "p.parquet")
        text: dict[str, dict[str, Any]] = {
            "model": {"name": "s", "version": 1, "allow_pickle": True},
            "input": {"path": "tables/s"},
            "output": {"path": "out/s", "keys": ["id"]},
        }
        for section, values in said.items():
            text.setdefault(section, {}).update(values)
        (loaded.home / "conf" / "pipelines" / "s.yaml").write_text(
            yaml.safe_dump(text, sort_keys=False)
        )
        return config.load("s")

    return make


def _published(loaded: config.Loaded) -> pa.Table:
    return pq.read_table(loaded.home / "out" / "s" / f"ds={DAY}", partitioning=None)


def _half(frame: pd.DataFrame) -> Any:
    return (frame.a / 2).to_numpy(np.float32)


def test_a_float_under_an_integer_signature_is_published_whole(stranger: Stranger) -> None:
    """Once for all its nights; scored again, it gives the same bytes."""
    loaded = stranger(_half, np.array([0, 1]))
    manifest = night_of(loaded, DAY)
    found = _published(loaded).sort_by("id")["prediction"]
    assert found.type == pa.float64()
    assert found.to_pylist() == (np.linspace(0, 1, 300) / 2).astype(np.float32).tolist()
    [replayed] = verify_partition(loaded, manifest.partition, None).replayed
    assert replayed.outcome == "bit-equal"
    [kept] = (loaded.home / "out" / "_nocturne" / "s" / "trials").glob("s-1-*.json")
    assert json.loads(kept.read_bytes())["outputs"][0]["type"] == "float64"
    kept.write_text("{")
    ref = Resolved(run_of(loaded, manifest).plan.model)
    asked = TrialRequest(
        ref.ref, ref.declared, spec=False, firm=False, input_cast={}, device="cpu", seconds=9
    )
    assert trial._stored(kept, asked) is None
    assert not kept.exists()


def _several(frame: pd.DataFrame) -> Any:
    late = [None if a > 0.5 else "late" for a in frame.a]
    both = [None if a > 0.9 else [a, b] for a, b in zip(frame.a, frame.b, strict=True)]
    return pd.DataFrame({"score": frame.a, "why": late, "both": both})


def test_a_null_that_is_not_in_the_first_output_loses_no_row(stranger: Stranger) -> None:
    said = {"score": "double", "why": "string", "both": "double[2]"}
    loaded = stranger(_several, model={"outputs": said})
    manifest = night_of(loaded, DAY)
    assert (manifest.rows_published, manifest.rows_quarantined) == (300, 0)
    table = _published(loaded).sort_by("id")
    a = np.linspace(0, 1, 300)
    expected = [None if x > 0.9 else [x, y] for x, y in zip(a, a[::-1], strict=True)]
    assert table["both"].to_pylist() == expected
    assert table["why"].null_count == 150
    assert table["why"][0].as_py() == "late"
    [replayed] = verify_partition(loaded, manifest.partition, None).replayed
    assert replayed.outcome == "bit-equal"


def test_the_yaml_says_which_outputs_may_be_null() -> None:
    outputs = [OutputSpec("a"), OutputSpec("b"), OutputSpec("c")]
    assert [o.nullable for o in with_nulls(outputs)] == [False, True, True]
    assert [o.nullable for o in with_nulls(outputs, ["a"])] == [True, False, False]
    assert not any(o.nullable for o in with_nulls(outputs, []))
    with pytest.raises(ConfigError, match=r"nullable names wy, .* it predicts a, b, c"):
        with_nulls(outputs, ["wy"])


def _exits(frame: pd.DataFrame) -> Any:
    print("this is the end")
    __import__("os")._exit(3)


def test_a_model_that_ends_its_process_is_refused_before_a_row_is_scored(
    stranger: Stranger,
) -> None:
    with pytest.raises(ModelError, match=r"with exit code 3 before .* line was: this is the end"):
        scored(stranger(_exits), DAY)


def test_an_encoding_spec_names_one_output_of_two_that_come(
    project: Callable[..., config.Loaded],
) -> None:
    """What failed once scoring had begun is refused before."""
    import torch

    from conftest import ENCODING, Small, sample
    from nocturne.contract import log_torch_model

    class Two(Small):
        def forward(self, numbers: torch.Tensor, codes: torch.Tensor) -> Any:
            found = super().forward(numbers, codes)
            return found, found

    loaded = project(model__name="two", model__alias="champion")
    client = connect(f"sqlite:///{loaded.home / 'var' / 'mlflow' / 'mlflow.db'}")
    mlflow.set_experiment(experiment_id=experiment_id(client, f"t-{loaded.home.name}"))
    both = Encoding(ENCODING.inputs, (OutputSpec("one"), OutputSpec("other")))
    info = log_torch_model(
        Two(), both, sample(100), name="two", registered_model_name="two", alias="champion"
    )
    assert info is not None
    ref = scored(loaded, DAY).plan.model
    asked = TrialRequest(
        ref, ENCODING, spec=True, firm=False, input_cast={}, device="cpu", seconds=60.0
    )
    from nocturne.trial.__main__ import _answer

    answer = _answer(asked, sample(20).combine_chunks().to_batches()[0])
    assert answer.fault.startswith("the model returned 2 outputs, and 1 are declared")


def test_rows_with_nulls_and_rare_words_are_among_those_that_are_tried() -> None:
    words = ["often"] * 9000
    words[7777] = "once"
    batch = pa.record_batch(
        {
            "n": pa.array([None if i == 5555 else float(i) for i in range(9000)]),
            "word": pa.array(words).dictionary_encode(),
        }
    )
    chosen = trial._choose(batch, 64)
    assert chosen.num_rows == 64
    assert chosen["n"].null_count == 1
    assert "once" in chosen["word"].to_pylist()
    assert chosen["n"].to_pylist()[:3] == [0.0, 1.0, 2.0]
    few = batch.slice(0, 5)
    assert trial._choose(few, 64).equals(few)


def test_a_graph_that_an_earlier_version_has_tried_is_tried_again(
    project: Callable[..., config.Loaded], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is checked since then may refuse it."""
    loaded = project()
    folder = loaded.home / "out" / "_nocturne" / "scores" / "trials"
    for file in folder.iterdir():
        file.unlink()
    for checked, day, trials in (({}, DAY, 1), (trial._CHECKED, "2024-01-02", 2)):
        with monkeypatch.context() as patched:
            patched.setattr(trial, "_CHECKED", checked)
            scored(loaded, day)
        assert len([*folder.glob("small-1-*.json")]) == trials


def test_a_partition_without_rows_tries_nothing(tmp_path: Path) -> None:
    ref = ModelRef("m", 1, "version 1", "pyfunc", "0" * 64, str(tmp_path))
    assert Resolved(ref).has_spec is False
    encoding = Encoding((), (OutputSpec("", type="any"),))
    asked = TrialRequest(
        ref, encoding, spec=False, firm=False, input_cast={}, device="cpu", seconds=60.0
    )
    found = trial.try_model(asked, SampleFiles([]))
    assert (found.rows, found.outputs) == (0, (OutputSpec("prediction", type="float64"),))


def test_keys_of_runs_before_an_output_could_be_null_are_the_same() -> None:
    """On an earlier main: this text, of the encoding that the tests' models have."""
    from conftest import ENCODING

    said = json.loads(ENCODING.to_json())
    assert said["outputs"] == [
        {
            "labels": [],
            "length": 0,
            "name": "score",
            "post": "sigmoid",
            "source": "",
            "type": "float32",
        }
    ]
    assert Encoding.from_json(json.dumps(said)) == ENCODING


def _helped(frame: pd.DataFrame) -> Any:
    """Fails by what is not installed here, as it also does where another version is."""
    try:
        import nocturne_of_workers
    except ImportError:
        raise ValueError("this is no library of mine") from None
    return nocturne_of_workers.words(frame)


def _lost(frame: pd.DataFrame) -> Any:
    import nocturne_of_nobody

    return nocturne_of_nobody.words(frame)


CLUSTER = {"master": "spark://workers.example:7077"}
"""A session that runs already is used, whatever master is said: so no cluster is needed."""


@pytest.fixture
def _module_of_workers(spark: Any, tmp_path: Path) -> None:
    """Spark's workers can import it; a process that is started here can't."""
    module = tmp_path / "nocturne_of_workers.py"
    module.write_text("def words(frame):\n    return [f'a{a:.2f}' for a in frame.a]\n")
    spark.sparkContext.addFile(str(module))


@pytest.mark.usefixtures("_module_of_workers")
def test_a_worker_tries_what_this_machine_cant(
    stranger: Stranger, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a trial there, its integers would be what is declared, and every row lost."""
    loaded = stranger(_helped, np.array([0, 1]), spark=CLUSTER)
    run = scored(loaded, DAY)
    assert [(o.name, o.type) for o in run.plan.encoding.outputs] == [("prediction", "string")]
    assert "can't be tried on this machine" in (said := caplog.text)
    assert said.count("So a Spark worker tries it") == 1
    [kept] = (loaded.home / "out" / "_nocturne" / "s" / "trials").glob("s-1-*.json")
    assert json.loads(kept.read_bytes())["rows"] == trial.TRIAL_ROWS


@pytest.mark.usefixtures("_spark")
def test_what_the_workers_lack_too_is_named(stranger: Stranger) -> None:
    loaded = stranger(_lost, np.array([0, 1]), spark=CLUSTER)
    told = (
        r"model s version 1 was tried on some rows by a Spark worker on \S+, and nothing was "
        r"scored: it needs a package that is not installed there: ModuleNotFoundError: No module "
        r"named 'nocturne_of_nobody'.* Install it for Spark's workers"
    )
    with pytest.raises(ModelError, match=told):
        scored(loaded, DAY)
    assert not (loaded.home / "out" / "_nocturne" / "s" / "trials").exists()


def test_on_a_local_master_what_is_declared_counts(
    stranger: Stranger, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = stranger(_lost, np.array([0, 1]))
    run = prepare(loaded, config.partition(loaded.pipeline.input.partition, DAY)).run
    assert run is not None
    assert run.plan.encoding.outputs[0].type == "int64"
    assert "No module named 'nocturne_of_nobody'" in (said := caplog.text)
    assert "What it declares of its outputs counts" in said


def test_a_gpu_that_the_workers_lack_too_is_named() -> None:
    """The trial on the CPU failed there as well."""
    answer = TrialAnswer(fault="it raises on each of the 64 rows", elsewhere=True)
    assert trial._missing_on_workers(answer, "cuda") == (
        "scoring.device is cuda, torch sees no GPU there, and on the CPU it raises on each of the "
        "64 rows"
    )
