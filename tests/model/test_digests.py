"""Whether a version's files are those that were registered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nocturne import config
from nocturne.cli import app
from nocturne.errors import ModelError
from nocturne.model.artifact import REGISTRATION, code_in
from nocturne.model.copies import tree_digest
from nocturne.model.digests import DIGEST
from nocturne.model.tracking import connect
from nocturne.pipeline.model import resolver
from pipeline.conftest import project, registry

__all__ = ["project", "registry"]

Project = Callable[..., config.Loaded]


def files_of(loaded: config.Loaded, version: str) -> Path:
    """The folder of a registered version's files."""
    client = connect(f"sqlite:///{loaded.home / 'var' / 'mlflow' / 'mlflow.db'}")
    uri = client.get_model_version_download_uri("small", version)
    return Path(uri.removeprefix("file://"))


def test_registering_tags_the_digest_and_each_night_compares_it(project: Project) -> None:
    from pipeline.test_arms import register

    loaded = project(model__require_digest=True)
    register(loaded, alias="champion")
    client = connect(f"sqlite:///{loaded.home / 'var' / 'mlflow' / 'mlflow.db'}")
    tag = client.get_model_version("small", "2").tags[DIGEST]
    assert resolver(loaded)().ref.sha256 == tag
    file = files_of(loaded, "2") / "requirements.txt"
    before = file.read_text()
    file.write_text(before + "\n# changed\n")
    with pytest.raises(ModelError) as refused:
        resolver(loaded)()
    assert "the files of model small version 2 are not those that were registered" in str(
        refused.value
    )
    assert tag in str(refused.value)
    file.write_text(before)
    assert resolver(loaded)().ref.version == 2


def test_an_untagged_version_is_refused_where_a_digest_is_required(project: Project) -> None:
    loaded = project(model__require_digest=True)
    client = connect(f"sqlite:///{loaded.home / 'var' / 'mlflow' / 'mlflow.db'}")
    client.delete_model_version_tag("small", "1", DIGEST)
    with pytest.raises(ModelError, match="tag it: nocturne digest small 1"):
        resolver(loaded)()
    result = CliRunner().invoke(app, ["digest", "small", "1"])
    assert result.exit_code == 0, result.output
    assert resolver(loaded)().ref.sha256 in result.output
    client.set_model_version_tag("small", "1", DIGEST, "0" * 64)
    result = CliRunner().invoke(app, ["digest", "small", "1"])
    assert result.exit_code == 1
    assert "are not those that were registered" in result.output


def test_without_the_setting_a_tag_that_is_there_is_compared_all_the_same(
    project: Project,
) -> None:
    loaded = project()
    client = connect(f"sqlite:///{loaded.home / 'var' / 'mlflow' / 'mlflow.db'}")
    client.delete_model_version_tag("small", "1", DIGEST)
    assert resolver(loaded)().ref.version == 1
    client.set_model_version_tag("small", "1", DIGEST, "0" * 64)
    with pytest.raises(ModelError, match="are not those that were registered"):
        resolver(loaded)()


@pytest.mark.parametrize("folder", ["data", "extra_files", "metadata"])
def test_only_the_file_that_mlflow_writes_itself_is_left_out(tmp_path: Path, folder: str) -> None:
    """One of its name in a subfolder could otherwise be changed unnoticed."""
    (tmp_path / "MLmodel").write_text("flavors: {}")
    (tmp_path / folder).mkdir()
    before = tree_digest(tmp_path)
    (tmp_path / REGISTRATION).write_text("model_name: small")
    assert tree_digest(tmp_path) == before
    inner = tmp_path / folder / REGISTRATION
    inner.write_text("a")
    added = tree_digest(tmp_path)
    inner.write_text("b")
    assert len({before, added, tree_digest(tmp_path)}) == 3


def test_a_changed_file_of_that_name_in_a_subfolder_is_refused_at_night(project: Project) -> None:
    from pipeline.test_arms import register

    loaded = project()
    register(loaded, alias="champion")
    file = files_of(loaded, "2") / "extra_files" / REGISTRATION
    file.parent.mkdir()
    file.write_text("added")
    with pytest.raises(ModelError, match="are not those that were registered"):
        resolver(loaded)()


def test_what_is_in_no_digest_is_not_read_as_weights(tmp_path: Path) -> None:
    """An ONNX model names the files of its large tensors."""
    flavors = {
        "python_function": {"loader_module": "mlflow.onnx", "data": "model.onnx"},
        "onnx": {"data": "model.onnx"},
    }
    (tmp_path / "weights").write_bytes(b"1")
    (tmp_path / REGISTRATION).write_text("model_name: small")
    (tmp_path / "model.onnx").write_bytes(b"\x08 weights")
    assert code_in(tmp_path, {"flavors": flavors}) == {}
    (tmp_path / "model.onnx").write_bytes(b"\x08 weights " + REGISTRATION.encode())
    assert "which MLflow writes" in code_in(tmp_path, {"flavors": flavors})["model.onnx"]
