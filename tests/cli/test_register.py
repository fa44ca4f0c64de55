"""``nocturne register``: each kind of model, into a real registry, and a night that it scores."""

from __future__ import annotations

import json
import pickle
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from sklearn.linear_model import LinearRegression
from typer.testing import CliRunner, Result

from conftest import ENCODING, Small, sample
from keys import key_pair
from nocturne import config
from nocturne.cli import app
from nocturne.contract import (
    handed_in,
    infer_encoding,
    log_torch_model,
    predict,
    tensors,
    use_project,
)
from nocturne.contract.added import ADDED
from nocturne.contract.kinds import KINDS
from nocturne.encoding import ENCODING_FILE, Encoding, OutputSpec
from nocturne.engine import TorchModel
from nocturne.errors import Superseded
from nocturne.model.aliases import changes_of, version_at
from nocturne.model.artifact import BASELINE_FILE
from nocturne.model.digests import DIGEST
from nocturne.model.signatures import SIGNATURE
from nocturne.model.tracking import connect, experiment_id
from nocturne.records.drift import Baseline
from nocturne.store.record_files import read
from picklable import Picklable
from pipeline.conftest import project, registry

__all__ = ["project", "registry"]

DAY = "2024-01-02"
Project = Callable[..., config.Loaded]


class Sum(torch.nn.Module):
    """Takes its columns as they are."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, 0] + 2 * x[:, 1]


class Random(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, 0] + torch.rand(x.shape[0])


class Counting(torch.nn.Module):
    """Gives something else while it is exported."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, 0] + (1 if torch.compiler.is_exporting() else 0)


class Branching(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if bool(x.sum() > 0):
            return x[:, 0]
        return -x[:, 0] * float(x.sum())


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.fixture
def home(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> config.Loaded:
    """The project, with training data in ``train/ds=.../`` and nothing of a new model.

    It takes signed versions with a digest only.
    """
    private, _ = key_pair(tmp_path / "keys")
    monkeypatch.setenv("NOCTURNE_SIGNING_KEY", str(private))
    loaded = project(
        spark__master="none",
        model__name="new",
        model__alias="champion",
        model__require_digest=True,
        model__require_signature="keys/key.pub.pem",
        scoring__micro_batch=1024,  # nothing is measured
        scoring__kernel="graph",
    )
    for number in range(3):
        folder = tmp_path / "train" / f"ds=2023-12-0{1 + number}"
        folder.mkdir(parents=True)
        rows = sample(300, number)
        known = pc.is_in(rows["word"], pa.array(["a", "b"]))  # the module has codes for these
        words = pc.if_else(known, rows["word"], None)
        pq.write_table(rows.set_column(3, "word", words), folder / "part-0.parquet")
    return loaded


@pytest.fixture
def client(home: config.Loaded) -> mlflow.MlflowClient:
    return connect(f"sqlite:///{home.home / 'var' / 'mlflow' / 'mlflow.db'}")


def register(
    source: object, *options: str, data: object = None, home: Path | None = None
) -> Result:
    where = data or Path(config.home(), "train")
    arguments = ["register", str(source), "--name", "new", "--data", str(where), *options]
    return CliRunner().invoke(app, arguments)


def registered(source: object, *options: str, **more: Any) -> dict[str, Any]:
    """What the command says with --json."""
    more_options = ["--sign", "--alias", "champion", "--why", "new", "--json"]
    result = register(source, *options, *more_options, **more)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def refused(client: mlflow.MlflowClient, source: object, *options: str, **more: Any) -> str:
    """What it says; nothing was left behind."""
    before = _logged(client)
    result = register(source, *options, "--alias", "champion", **more)
    assert result.exit_code == 1, f"{result.output}\n{result.exception!r}"
    assert not client.search_registered_models("name = 'new'")
    assert _logged(client) == before
    return result.stderr


def _logged(client: mlflow.MlflowClient) -> set[str]:
    experiments = [e.experiment_id for e in client.search_experiments()]
    return {model.model_id for model in client.search_logged_models(experiments)}


def scores_of_a_night(name: str = "p") -> pa.Table:
    """The published rows of a day, by id, once they are verified by scoring them again."""
    done = CliRunner().invoke(app, ["score", name, "--date", DAY, "--json"])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(app, ["verify", name, "--date", DAY, "--replay", "--json"])
    [found] = json.loads(done.stdout.splitlines()[-1])
    assert {one["outcome"] for one in found["replayed"]} == {"bit-equal"}
    return pq.read_table(found["output"], partitioning=None).sort_by("id")


def night() -> pa.Table:
    return pq.read_table(Path(config.home(), "data", f"ds={DAY}"), partitioning=None).sort_by("id")


def exported(module: torch.nn.Module, path: Path, *arguments: torch.Tensor) -> Path:
    rows = torch.export.Dim("rows")
    shapes = tuple({0: rows} for _ in arguments)
    program = torch.export.export(module.eval(), arguments, dynamic_shapes=shapes)
    torch.export.save(program, path)
    return path


def small(path: Path) -> Path:
    return exported(Small(), path, *tensors(sample(40), ENCODING))


def columns_options() -> list[str]:
    return ["--numeric", "x", "--numeric", "y", "--category", "word", "--output", "score=sigmoid"]


def expected_of(encoding: Encoding) -> pa.Table:
    return predict(TorchModel(Small().eval()), encoding, night())


def inferred() -> Encoding:
    train = pq.read_table(Path(config.home(), "train"), partitioning=None)
    outputs = [OutputSpec("score", post="sigmoid")]
    return infer_encoding(train, numeric=["x", "y"], categories=["word"], outputs=outputs)


def check_night(encoding: Encoding) -> None:
    """The published scores are those of the module called directly."""
    scores, expected = scores_of_a_night(), expected_of(encoding)
    np.testing.assert_allclose(scores["score"], expected["score"], rtol=1e-6)


def test_a_pt2_file_is_registered_with_all_that_a_night_needs(
    home: config.Loaded, client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    file = small(tmp_path / "model.pt2")

    said = registered(file, *columns_options())

    version = client.get_model_version_by_alias("new", "champion")
    assert (said["model"], said["version"], said["difference"]) == ("new", 1, 0.0)
    assert said["partitions"] == ["ds=2023-12-01", "ds=2023-12-02", "ds=2023-12-03"]
    assert (said["rows"], said["code"]) == (900, "")
    assert version.tags[DIGEST] == said["sha256"] != ""
    assert version.source == f"models:/{said['model_id']}"
    folder = Path(mlflow.artifacts.download_artifacts("models:/new/1", dst_path=str(tmp_path)))
    assert (folder / "data" / "model.pt2").read_bytes() == file.read_bytes()
    assert Encoding.from_json((folder / ENCODING_FILE).read_bytes()) == inferred()
    baseline = read(Baseline, folder / BASELINE_FILE)
    assert set(baseline.columns) == {"x", "y", "word", "score"}
    assert set(baseline.columns["score"].partitions) == set(said["partitions"])
    [change] = changes_of(client.get_registered_model("new").tags)
    assert (change.how, change.after, change.why) == ("promoted", 1, "new")
    assert said["alias"]["after"] == 1
    check_night(inferred())


@pytest.mark.long
def test_the_encoding_of_training_may_be_a_file(home: config.Loaded, tmp_path: Path) -> None:
    spec = json.loads(ENCODING.to_json())
    file, model = tmp_path / "encoding.json", small(tmp_path / "model.pt2")
    file.write_text(json.dumps(spec))
    registered(model, "--encoding", str(file))
    other = file.with_suffix(".yaml")
    other.write_text(yaml.safe_dump(spec))
    registered(model, "--encoding", str(other))  # version 2 has the alias
    check_night(ENCODING)
    changes = changes_of(mlflow.MlflowClient().get_registered_model("new").tags)
    assert [(change.before, change.after) for change in changes] == [(None, 1), (1, 2)]


def fill_nulls() -> None:
    """Of x, in the training data and in the night."""
    for path in (
        *Path(config.home(), "train").rglob("*.parquet"),
        *folder_of_the_night().glob("*.parquet"),
    ):
        rows = pq.ParquetFile(path).read()
        filled = rows.set_column(1, "x", pc.fill_null(rows["x"], 0.0))
        pq.write_table(filled, path, row_group_size=250)


def folder_of_the_night() -> Path:
    return Path(config.home(), "data", f"ds={DAY}")


@pytest.mark.long
def test_columns_are_given_as_they_are_where_as_many_fit(
    home: config.Loaded, tmp_path: Path
) -> None:
    fill_nulls()
    file = exported(Sum(), tmp_path / "sum.pt2", torch.zeros(4, 2))
    train = pq.read_table(home.home / "train", partitioning=None).select(["x", "y"])
    pq.write_table(train, tmp_path / "two.parquet")

    said = registered(file, data=tmp_path / "two.parquet")

    assert said["columns"] == ["x", "y"]
    assert said["outputs"] == {"prediction": "float"}
    x, y = (night()[name].to_numpy().astype(np.float32) for name in ("x", "y"))
    np.testing.assert_allclose(scores_of_a_night()["prediction"], x + 2 * y, rtol=1e-5, atol=1e-6)


@pytest.mark.long
def test_torchscript_is_registered_as_a_graph(
    home: config.Loaded, client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    module, arguments = Small().eval(), tuple(tensors(sample(40), ENCODING))
    torch.jit.script(module).save(str(tmp_path / "script.pt"))
    torch.jit.trace(module, arguments).save(str(tmp_path / "trace.pt"))
    said = said_of(client, tmp_path / "script.pt", *columns_options())
    assert "TorchScript is a program" in said
    assert "--allow-pickle" in said
    for file in ("trace.pt", "script.pt"):
        answer = registered(tmp_path / file, *columns_options(), "--allow-pickle")
        assert answer["code"] == ""  # the pipeline does not allow pickles
    check_night(inferred())


def test_torchscript_that_is_no_graph_is_refused(
    home: config.Loaded, client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    torch.jit.script(Branching()).save(str(tmp_path / "script.pt"))
    said = said_of(client, tmp_path / "script.pt", "--feature", "y", "--allow-pickle")
    assert "can't be exported as pt2 (torch.export)" in said
    assert "float32[rows, 1]" in said


def test_an_unusable_key_is_said_before_anything_is_registered(
    home: config.Loaded, client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    (tmp_path / "keys" / "key.pem").write_text("no key")
    said = said_of(client, small(tmp_path / "model.pt2"), *columns_options(), "--sign")
    assert "key.pem can't be used" in said


@pytest.mark.long
def test_a_pickled_module_is_registered_as_a_graph(
    home: config.Loaded, client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    torch.save(Picklable(), tmp_path / "model.pth")
    assert "a pickle runs what its author wrote" in refused(
        client, tmp_path / "model.pth", *columns_options()
    )
    registered(tmp_path / "model.pth", *columns_options(), "--allow-pickle")
    check_night(inferred())


@pytest.mark.long
def test_the_model_of_a_run_is_registered_where_it_lies(
    home: config.Loaded, client: mlflow.MlflowClient
) -> None:
    train = pd.DataFrame({"x": np.arange(40.0), "y": np.arange(40.0)[::-1].copy()})
    fitted = LinearRegression().fit(train, train.x - 3 * train.y)
    signature = mlflow.models.infer_signature(train, fitted.predict(train))
    with mlflow.start_run(experiment_id=experiment_id(client, "training")) as run:
        info = mlflow.sklearn.log_model(
            fitted,
            name="linear",
            signature=signature,
            serialization_format="skops",
            pip_requirements=["scikit-learn"],
        )
    fill_nulls()

    said = registered(f"runs:/{run.info.run_id}/linear")

    version = client.get_model_version("new", "1")
    assert (version.source, said["columns"]) == (f"models:/{info.model_id}", ["x", "y"])
    assert version.tags[DIGEST] == said["sha256"]
    expected = fitted.predict(night().select(["x", "y"]).to_pandas())
    np.testing.assert_allclose(scores_of_a_night()["prediction"], expected, rtol=1e-9)

    again = register(f"models:/{info.model_id}")
    assert again.exit_code == 1
    assert f"{info.model_id} is new version 1 already" in again.stderr


def _logged_lines(path: Path) -> tuple[str, Path]:
    """A logged model that needs an encoding, and its training data."""
    use_project("t")
    rows = sample(300, 5).to_pandas()
    rows = rows[np.isfinite(rows.x) & np.isfinite(rows.y)]
    rows.to_parquet(path, index=False)
    x = rows[["x", "y"]].to_numpy()
    model = LinearRegression().fit(x, 3 * x[:, 0] - x[:, 1])
    signature = mlflow.models.infer_signature(x, model.predict(x))
    info = mlflow.sklearn.log_model(
        model, name="lines", signature=signature, serialization_format="skops"
    )
    return f"models:/{info.model_id}", path


def _files(uri: str) -> set[str]:
    folder = Path(mlflow.artifacts.download_artifacts(uri))
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.mark.long
def test_an_encoding_of_a_registration_that_did_not_end_is_not_kept(
    home: config.Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been the wrong one."""
    uri, data = _logged_lines(tmp_path / "rows.parquet")
    before = _files(uri)

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(handed_in, "make_baseline", interrupted)
        assert register(uri, "--feature", "y", "--feature", "x", data=data).exit_code != 0
    assert _files(uri) == before
    found = registered(uri, "--feature", "x", "--feature", "y", data=data)
    assert found["columns"] == ["x", "y"]
    assert _files(uri) == before | {ENCODING_FILE, BASELINE_FILE}


@pytest.mark.long
def test_nothing_is_added_to_a_model_that_somebody_else_registers_meanwhile(
    home: config.Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, data = _logged_lines(tmp_path / "rows.parquet")
    before, made = _files(uri), handed_in.make_baseline

    def meanwhile(*arguments: Any, **more: Any) -> Baseline:
        mlflow.register_model(uri, "other")
        return made(*arguments, **more)

    monkeypatch.setattr(handed_in, "make_baseline", meanwhile)
    result = register(uri, "--feature", "x", "--feature", "y", data=data)
    assert result.exit_code == 1
    assert "other version 1 already" in result.stderr
    assert _files(uri) == before


CREATE = "_create_model_version"
"""What MLflow's ``register_model`` calls once it has created the registered model."""


def fail(*_: Any, **__: Any) -> None:
    raise mlflow.MlflowException("it is full")


def interrupt(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("stop", [fail, interrupt])
def test_no_empty_registered_model_stays(
    home: config.Loaded,
    client: mlflow.MlflowClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop: Callable[..., None],
) -> None:
    file = small(tmp_path / "model.pt2")
    with monkeypatch.context() as patched:
        patched.setattr(mlflow.MlflowClient, CREATE, stop)
        before = _logged(client)
        assert register(file, *columns_options()).exit_code != 0
        assert not client.search_registered_models("name LIKE 'new%'")
        assert _logged(client) == before
        client.create_registered_model("new")  # somebody's own
        assert register(file, *columns_options()).exit_code != 0
        assert client.get_registered_model("new")
    assert registered(file, *columns_options())["version"] == 1


def test_a_version_that_somebody_registers_meanwhile_is_not_removed(
    home: config.Loaded,
    client: mlflow.MlflowClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rename = mlflow.MlflowClient.rename_registered_model

    def meanwhile(self: mlflow.MlflowClient, name: str, new_name: str) -> None:
        if name == "new":
            self._get_registry_client().create_model_version("new", str(tmp_path))
        rename(self, name, new_name)

    monkeypatch.setattr(mlflow.MlflowClient, CREATE, fail)
    monkeypatch.setattr(mlflow.MlflowClient, "rename_registered_model", meanwhile)
    assert register(small(tmp_path / "model.pt2"), *columns_options()).exit_code == 1
    [version] = client.search_model_versions("name LIKE 'new%'")
    assert (version.name, version.source) == ("new", str(tmp_path))


def test_a_version_whose_answer_was_lost_is_registered_all_the_same(
    home: config.Loaded,
    client: mlflow.MlflowClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    create = getattr(mlflow.MlflowClient, CREATE)

    def lost(*arguments: Any, **more: Any) -> None:
        create(*arguments, **more)
        fail()

    monkeypatch.setattr(mlflow.MlflowClient, CREATE, lost)
    assert registered(small(tmp_path / "model.pt2"), *columns_options())["version"] == 1
    [version] = client.search_model_versions("name = 'new'")
    assert version.tags[DIGEST]


@pytest.mark.long
@pytest.mark.parametrize("stop", [fail, interrupt])
def test_what_was_added_to_a_logged_model_is_taken_away_if_it_is_not_registered(
    home: config.Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: Callable[..., None]
) -> None:
    uri, data = _logged_lines(tmp_path / "rows.parquet")
    before = _files(uri)
    with monkeypatch.context() as patched:
        patched.setattr(mlflow.MlflowClient, CREATE, stop)
        assert register(uri, "--feature", "y", "--feature", "x", data=data).exit_code != 0
    assert _files(uri) == before
    assert ADDED not in tags_of(uri)
    found = registered(uri, "--feature", "x", "--feature", "y", data=data)
    assert found["columns"] == ["x", "y"]
    assert ADDED not in tags_of(uri)


@pytest.mark.long
def test_a_version_that_is_there_when_it_is_interrupted_leaves_no_tag(
    home: config.Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, data = _logged_lines(tmp_path / "rows.parquet")
    create = getattr(mlflow.MlflowClient, CREATE)

    def interrupted(*arguments: Any, **more: Any) -> None:
        create(*arguments, **more)
        interrupt()

    monkeypatch.setattr(mlflow.MlflowClient, CREATE, interrupted)
    assert register(uri, "--feature", "x", "--feature", "y", data=data).exit_code != 0
    assert CliRunner().invoke(app, ["digest", "new", "1"]).exit_code == 0
    assert ADDED not in tags_of(uri)


def tags_of(uri: str) -> dict[str, str]:
    model: dict[str, str] = mlflow.get_logged_model(uri.removeprefix("models:/")).tags
    return model


@pytest.mark.long
def test_what_a_killed_registration_has_added_is_left_out_by_the_next_one(
    home: config.Loaded, client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    uri, data = _logged_lines(tmp_path / "rows.parquet")
    before = _files(uri)
    script = (
        "import os, signal, mlflow\n"
        f"mlflow.MlflowClient.{CREATE} = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from nocturne.cli import app\n"
        f"app(['register', {uri!r}, '--name', 'new', '--data', {str(data)!r}, "
        "'--feature', 'y', '--feature', 'x'])"
    )
    killed = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert _files(uri) == before | {ENCODING_FILE, BASELINE_FILE}
    assert not client.search_model_versions("name = 'new'")

    found = registered(uri, "--feature", "x", "--feature", "y", data=data)

    assert (found["columns"], found["version"]) == (["x", "y"], 1)
    folder = Path(mlflow.artifacts.download_artifacts("models:/new/1", dst_path=str(tmp_path)))
    spec = Encoding.from_json((folder / ENCODING_FILE).read_bytes())
    assert list(spec.columns) == ["x", "y"]
    assert ADDED not in tags_of(uri)


def promote_meanwhile(version: str) -> Callable[..., Baseline]:
    """Somebody moves the alias while the model scores."""
    made = handed_in.make_baseline

    def meanwhile(*arguments: Any, **more: Any) -> Baseline:
        done = CliRunner().invoke(app, ["promote", "new", version, "--why", "better"])
        assert done.exit_code == 0, done.output
        return made(*arguments, **more)

    return meanwhile


@pytest.mark.parametrize("before", ["1", "nowhere"])
def test_an_alias_that_somebody_moves_meanwhile_stays_where_it_is(
    home: config.Loaded,
    client: mlflow.MlflowClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: str,
) -> None:
    file = small(tmp_path / "model.pt2")
    for _ in range(2):
        assert register(file, *columns_options()).exit_code == 0
    if before == "1":
        client.set_registered_model_alias("new", "champion", before)
    monkeypatch.setattr(handed_in, "make_baseline", promote_meanwhile("2"))
    result = register(file, *columns_options(), "--alias", "champion", "--sign")
    assert result.exit_code == 1
    said = " ".join(result.stderr.split())
    assert "new version 3 is registered, but the alias champion was not moved to it" in said
    then = "version 1" if before == "1" else "nowhere"
    assert f"new@champion is version 2 by now, and not {then}" in said
    assert "nocturne promote new 3 --alias champion" in said
    assert version_at(client, "new", "champion") == 2
    assert SIGNATURE in client.get_model_version("new", "3").tags


def test_a_training_script_does_not_move_an_alias_that_somebody_has_moved_meanwhile(
    home: config.Loaded, client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_project("t")
    rows = sample(300, 5)

    def log() -> None:
        log_torch_model(
            Small(), ENCODING, rows, name="new", registered_model_name="new", alias="champion"
        )

    log()
    client.create_model_version("new", client.get_model_version("new", "1").source)
    monkeypatch.setattr(handed_in, "make_baseline", promote_meanwhile("2"))
    with pytest.raises(Superseded, match="new version 3 is registered, but the alias champion was"):
        log()
    assert version_at(client, "new", "champion") == 2
    changes = changes_of(client.get_registered_model("new").tags)
    assert [change.after for change in changes] == [1, 2]


def test_a_version_that_can_not_be_signed_any_more_is_said_and_gets_no_alias(
    home: config.Loaded,
    client: mlflow.MlflowClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = small(tmp_path / "model.pt2")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(mlflow.MlflowClient, "set_model_version_tag", full)
        result = register(file, *columns_options(), "--sign", "--alias", "champion")
    assert result.exit_code == 1
    said = " ".join(result.stderr.split())
    assert "new version 1 is registered, but it is not signed, and no alias was moved: OS" in said
    assert "To sign it: nocturne sign new 1, then nocturne promote new 1 --alias champion" in said
    assert not client.get_registered_model("new").aliases
    for command in (["sign", "new", "1"], ["promote", "new", "1", "--alias", "champion"]):
        assert CliRunner().invoke(app, command).exit_code == 0


@pytest.mark.long
def test_a_model_with_too_many_files_to_be_signed_is_not_registered(
    home: config.Loaded, client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    uri, data = _logged_lines(tmp_path / "rows.parquet")
    (tmp_path / "many").mkdir()
    for number in range(600):
        (tmp_path / "many" / f"{number}").write_text("")
    client.log_model_artifacts(uri.removeprefix("models:/"), str(tmp_path / "many"), "extra_files")
    options = ["--feature", "x", "--feature", "y"]
    said = said_of(client, uri, *options, "--sign", data=data)
    assert "the model has too many files to be signed" in said
    assert register(uri, *options, data=data).exit_code == 0


def test_a_model_whose_files_can_not_be_uploaded_is_not_kept(
    home: config.Loaded,
    client: mlflow.MlflowClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mlflow.MlflowClient, "log_model_artifacts", fail)
    assert "it is full" in said_of(client, small(tmp_path / "model.pt2"), *columns_options())


@pytest.mark.long
def test_of_two_registrations_of_a_logged_model_at_once_one_is_refused(
    home: config.Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both passed the look at whether it is registered; the files can be those of one only."""
    uri, data = _logged_lines(tmp_path / "rows.parquet")
    digest, second = handed_in.digest_logged, list[dict[str, Any]]()

    def meanwhile(model_id: str) -> str:
        found = digest(model_id)
        monkeypatch.setattr(handed_in, "digest_logged", digest)
        second.append(registered(uri, "--feature", "x", "--feature", "y", data=data))
        return found

    monkeypatch.setattr(handed_in, "digest_logged", meanwhile)
    first = register(uri, "--feature", "y", "--feature", "x", data=data)
    assert first.exit_code == 1
    assert "new version 1 already" in first.stderr
    assert [found["columns"] for found in second] == [["x", "y"]]
    assert CliRunner().invoke(app, ["digest", "new", "1"]).exit_code == 0  # it is still that


def test_an_onnx_file_is_registered(home: config.Loaded, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="not installed: `make e2e` installs it")
    onnx = pytest.importorskip("onnx")
    node = onnx.helper.make_node
    f32, i64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
    weights = np.array([[2.0], [0.5]], np.float32)
    words = np.array([[0.25], [-0.5], [1.0], [0.0]], np.float32)
    graph = onnx.helper.make_graph(
        [
            node("MatMul", ["values", "w"], ["dense"]),
            node("Squeeze", ["codes", "one"], ["flat"]),
            node("Gather", ["words", "flat"], ["word"]),
            node("Add", ["dense", "word"], ["late"]),
        ],
        "small",
        [
            onnx.helper.make_tensor_value_info("values", f32, [None, 2]),
            onnx.helper.make_tensor_value_info("codes", i64, [None, 1]),
        ],
        [onnx.helper.make_tensor_value_info("late", f32, [None, 1])],
        [
            onnx.numpy_helper.from_array(weights, "w"),
            onnx.numpy_helper.from_array(words, "words"),
            onnx.numpy_helper.from_array(np.array([1], np.int64), "one"),
        ],
    )
    onnx.save(
        onnx.helper.make_model(
            graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 20)]
        ),
        tmp_path / "model.onnx",
    )

    said = registered(
        tmp_path / "model.onnx", "--numeric", "x", "--numeric", "y", "--category", "word"
    )

    assert (said["code"], said["outputs"]) == ("", {"late": "float"})
    numbers, codes = (t.numpy() for t in tensors(night(), inferred()))
    expected = (numbers @ weights + words[codes[:, 0]])[:, 0]
    np.testing.assert_allclose(scores_of_a_night()["late"], expected, rtol=1e-5, atol=1e-6)


def said_of(client: mlflow.MlflowClient, file: object, *options: str, **more: Any) -> str:
    return " ".join(refused(client, file, *options, **more).split())


def test_a_model_that_gives_something_else_once_it_is_logged_is_not_registered(
    home: config.Loaded, client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    torch.save(Counting(), tmp_path / "counting.pth")
    options = ["--feature", "y", "--allow-pickle"]
    said = said_of(client, tmp_path / "counting.pth", *options)
    assert "'prediction' differs in 900 of 900 numbers, by up to 1" in said
    torch.save(Random(), tmp_path / "random.pth")
    said = said_of(client, tmp_path / "random.pth", *options)
    assert "it draws random numbers" in said


def test_an_artifact_that_the_store_changes_is_not_registered(
    home: config.Loaded,
    client: mlflow.MlflowClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Weights that rot between the upload and the look at it, with a real file store."""
    upload = mlflow.MlflowClient.log_model_artifacts

    def rotting(self: mlflow.MlflowClient, model_id: str, folder: str) -> None:
        upload(self, model_id, folder)
        location = self.get_logged_model(model_id).artifact_location.removeprefix("file://")
        file = Path(location, "data", "model.pt2")
        raw, weights = file.read_bytes(), Small().words.weight.detach().numpy().tobytes()
        file.write_bytes(raw.replace(weights, weights[:3] + b"\x40" + weights[4:]))

    monkeypatch.setattr(mlflow.MlflowClient, "log_model_artifacts", rotting)
    said = said_of(client, small(tmp_path / "model.pt2"), *columns_options())
    assert "Bad CRC-32" in said


def test_a_pickle_in_a_pt2_file_is_never_loaded(
    home: config.Loaded, client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    made, forged = small(tmp_path / "model.pt2"), tmp_path / "forged.pt2"
    with zipfile.ZipFile(made) as archive, zipfile.ZipFile(forged, "w") as target:
        for entry in archive.infolist():
            data = archive.read(entry)
            if entry.filename.endswith("model_weights_config.json"):
                config_ = json.loads(data)
                next(iter(config_["config"].values()))["use_pickle"] = True
                data = json.dumps(config_).encode()
            if entry.filename.endswith("weight_0"):
                data = pickle.dumps(Evil(tmp_path / "ran"))
            target.writestr(entry.filename, data)
    said = said_of(client, forged, *columns_options())
    assert "a pickle in place of the tensor" in said
    assert "--allow-pickle" in said
    text = zipfile.ZipFile(made).read("model/models/model.json").decode()
    run = f"open({str(tmp_path / 'ran')!r}, 'w') or "
    text = text.replace('"expr_str": "', f'"expr_str": "{run}')
    assert run in text
    with zipfile.ZipFile(made) as archive, zipfile.ZipFile(forged, "w") as target:
        for entry in archive.infolist():
            data = text.encode() if entry.filename.endswith("model.json") else archive.read(entry)
            target.writestr(entry.filename, data)
    assert "which is no arithmetic" in said_of(client, forged, *columns_options())
    (tmp_path / "plain.bin").write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
    assert "--allow-pickle" in said_of(client, tmp_path / "plain.bin", *columns_options())
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--numeric", "x", "--numeric", "z"], "no column 'z'"),
        (["--numeric", "x", "--numeric", "word"], "'word' is string, expected a number"),
        (["--numeric", "x"], "takes 2 tensors, the encoding spec makes 1"),
        (
            ["--numeric", "x", "--category", "word"],
            "numbers float32[rows, 1] for numbers float32[rows, 2]",
        ),
        (["--feature", "x", "--feature", "y"], "nothing says which columns it takes: got 2"),
        ([], "Name them with --feature COLUMN"),
        (["--encoding", "nothing.json"], "encoding: nothing.json can't be read"),
        (["--feature", "x", "--numeric", "y"], "give one of: --encoding"),
        ([*columns_options(), "--output", "other"], "returned"),
        ([*columns_options()[:-1], "score=argmax"], "expected NAME, or NAME= and one of"),
        (["--date", "x"], "expected COLUMN=PART"),
        ([*columns_options(), "--partition", "week"], "partition: "),
        (["--alias", "v1", *columns_options()], "can't be an alias"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(
    home: config.Loaded,
    client: mlflow.MlflowClient,
    tmp_path: Path,
    options: Sequence[str],
    said: str,
) -> None:
    file = small(tmp_path / "model.pt2")
    if "v1" in options:
        result = register(file, *options)
        assert result.exit_code == 1
        assert said in result.stderr
        assert not client.search_registered_models("name = 'new'")
        return
    assert said in said_of(client, file, *options)


def test_an_encoding_of_other_columns_is_refused(
    home: config.Loaded, client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    file = tmp_path / "encoding.yaml"
    numbers, codes = ENCODING.inputs
    other = replace(
        numbers, features=(replace(numbers.features[0], column="age"), numbers.features[1])
    )
    file.write_text(yaml.safe_dump(json.loads(replace(ENCODING, inputs=(other, codes)).to_json())))
    model = small(tmp_path / "model.pt2")
    assert "column 'age' is missing" in said_of(client, model, "--encoding", str(file))
    file.write_text("inputs: [")
    assert "is not YAML" in said_of(client, model, "--encoding", str(file))
    file.write_text("inputs: []")
    assert "encoding spec can't be read" in said_of(client, model, "--encoding", str(file))


def test_data_that_can_not_be_read_are_refused(
    home: config.Loaded, client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    model, options = small(tmp_path / "model.pt2"), columns_options()
    missing = tmp_path / "nowhere"
    assert f"{missing} is not there" in said_of(client, model, *options, data=missing)
    (tmp_path / "text.parquet").write_text("a,b")
    said = said_of(client, model, *options, data=tmp_path / "text.parquet")
    assert "is not a readable Parquet file" in said
    pq.write_table(sample(1), tmp_path / "one.parquet")
    said = said_of(client, model, *options, data=tmp_path / "one.parquet")
    assert "has 1 rows, expected at least 2" in said
    pq.write_table(
        sample(5).drop_columns(["y"]), home.home / "train" / "ds=2023-12-01" / "z.parquet"
    )
    assert "y is missing" in said_of(client, model, *options)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is none of a file of torch.export"),
        (b"PK\x03\x04 no archive", "is none of a file of torch.export"),
        (b"GGUF", "is none of a file of torch.export"),
    ],
)
def test_a_file_of_no_kind_is_refused(
    home: config.Loaded, client: mlflow.MlflowClient, tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / "model.pt2").write_bytes(content)
    assert said in said_of(client, tmp_path / "model.pt2", *columns_options())
    assert "can't be read: No such file" in said_of(client, tmp_path / "none.pt2")
    torch.save(Small().state_dict(), tmp_path / "weights.pt")
    said = said_of(client, tmp_path / "weights.pt", "--allow-pickle")
    assert "has a OrderedDict, expected a torch.nn.Module" in said
    for uri in ("runs:/0/model", "models:/small/1", f"models:/m-{'0' * 32}"):
        assert "nocturne:" in said_of(client, uri)


def test_each_kind_of_file_has_a_test() -> None:
    assert set(KINDS) == {"pt2", "torchscript", "pickle", "onnx"}
