"""Several models in one process, whose code has the same names."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pyarrow as pa
import pytest
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

from nocturne.encoding import Encoding, Feature, TensorSpec
from nocturne.pyfunc.load import PyfuncModel, load
from nocturne.pyfunc.own_code import enter

ENCODING = Encoding((TensorSpec("frame", "frame", "frame", (Feature("x", type="double"),)),), ())
MODEL = """
import mlflow
from nocturne_twin_helper import FACTOR

class Twin(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        from nocturne_twin_parts.later import plus
        from nocturne_twin_space import shift
        return model_input["x"] * FACTOR + plus() + shift.SHIFT

mlflow.models.set_model(Twin())
"""


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    path = list(sys.path)
    yield
    enter("")
    sys.path[:] = path
    for name in [name for name in sys.modules if name.startswith("nocturne_twin")]:
        del sys.modules[name]


def _model(folder: Path, factor: int) -> str:
    """It gives ``x * factor + factor + 100 * factor``, each by another import."""
    for package in ("nocturne_twin_parts", "nocturne_twin_space"):
        (folder / package).mkdir(parents=True)
    (folder / "nocturne_twin_helper.py").write_text(f"FACTOR = {factor}\n")
    (folder / "nocturne_twin_parts" / "__init__.py").touch()
    (folder / "nocturne_twin_parts" / "later.py").write_text(
        "def plus():\n    from nocturne_twin_helper import FACTOR\n    return FACTOR\n"
    )
    (folder / "nocturne_twin_space" / "shift.py").write_text(f"SHIFT = {100 * factor}\n")
    (folder / "model.py").write_text(MODEL)
    brought = ["nocturne_twin_helper.py", "nocturne_twin_parts", "nocturne_twin_space"]
    mlflow.pyfunc.save_model(
        folder / "saved",
        python_model=str(folder / "model.py"),
        code_paths=[str(folder / name) for name in brought],
        signature=ModelSignature(Schema([ColSpec("double", "x")])),
        pip_requirements=[],
    )
    return str(folder / "saved")


def _says(model: PyfuncModel) -> list[float]:
    return list(model.predict([pa.record_batch({"x": [1.0, 2.0]})])[0])


def _expected(factor: int) -> list[float]:
    return [102.0 * factor, 103.0 * factor]


def _saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *factors: int) -> list[str]:
    """Saving runs a model's code, which then is where it was written."""
    made = []
    for factor in factors:
        with monkeypatch.context() as patch:
            patch.syspath_prepend(str(tmp_path / str(factor)))
            made.append(_model(tmp_path / str(factor), factor))
        for name in [name for name in sys.modules if name.startswith("nocturne_twin")]:
            del sys.modules[name]
    return made


def test_each_model_runs_its_own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = [
        load(path, ENCODING) for path in _saved(tmp_path, monkeypatch, 1, 2)
    ]  # both before a call: what `predict` imports is not there yet
    for _ in range(2):
        assert _says(one) == _expected(1)
        assert _says(two) == _expected(2)
    assert sum(str(tmp_path) in entry for entry in sys.path) == 1


def test_a_model_keeps_its_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = _saved(tmp_path, monkeypatch, 1, 2)
    one = load(paths[0], ENCODING)
    assert _says(one) == _expected(1)
    helper = sys.modules["nocturne_twin_helper"]
    load(paths[1], ENCODING)
    assert sys.modules["nocturne_twin_helper"] is not helper
    assert _says(one) == _expected(1)
    assert sys.modules["nocturne_twin_helper"] is helper


def test_a_namespace_that_models_share_has_each_ones_part(tmp_path: Path) -> None:
    for name in ("one", "two", "installed"):
        part = tmp_path / name / "code" / "nocturne_twin_shared"
        part.mkdir(parents=True)
        (part / f"{'part' if name != 'installed' else 'all'}.py").write_text(f"NAME = {name!r}\n")
    sys.path.append(str(tmp_path / "installed" / "code"))
    seen = []
    for name in ("one", "two", "one", "two"):
        enter(str(tmp_path / name))
        code = str(tmp_path / name / "code")
        if code not in sys.path:
            sys.path.insert(0, code)
        space: dict[str, object] = {}
        exec("from nocturne_twin_shared import all, part\nsaid = all.NAME, part.NAME", space)
        seen.append(space["said"])
    assert seen == [("installed", name) for name in ("one", "two", "one", "two")]
