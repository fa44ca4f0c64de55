"""The package's face: cheap to import, and every name of it is there."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import nocturne

ROOT = Path(__file__).parents[1]
HEAVY = {
    "airflow",
    "great_expectations",
    "mlflow",
    "numpy",
    "pandas",
    "pyarrow",
    "pydantic",
    "pyspark",
    "torch",
}


def _loaded(code: str) -> set[str]:
    """The packages that a fresh Python has after running ``code``."""
    code += "\nimport json, sys; print(json.dumps([n for n in sys.modules if '.' not in n]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    return set(json.loads(done.stdout))


def test_importing_the_package_imports_none_of_the_heavy_ones() -> None:
    assert not HEAVY & _loaded("import nocturne; dir(nocturne)")


def test_a_pipeline_is_loaded_without_spark_mlflow_and_torch() -> None:
    found = _loaded("import nocturne; nocturne.load; nocturne.span; nocturne.NocturneError")
    assert not (HEAVY - {"pydantic"}) & found


def test_every_name_of_the_face_is_there() -> None:
    for name in nocturne.__all__:
        assert callable(getattr(nocturne, name))
    assert set(nocturne.__all__) <= set(dir(nocturne))


def test_the_face_names_what_it_imports_and_nothing_else() -> None:
    assert sorted(nocturne.__all__) == sorted(
        n for names in nocturne._HOMES.values() for n in names
    )
    with pytest.raises(AttributeError, match="module 'nocturne' has no attribute 'scores'"):
        nocturne.scores


def test_the_wheel_says_that_both_packages_are_typed(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True)
    [wheel] = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"nocturne/py.typed", "nocturne_airflow/py.typed"} <= set(names)
