"""A model's requirements, as a stranger may have written them, held against what is installed."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from nocturne.errors import ModelError
from nocturne.model.requirements import (
    import_errors,
    lists_requirements,
    load_error,
    unmet,
    warning,
)

PYTHON = platform.python_version()


def _said(folder: Path) -> list[str]:
    return [str(one) for one in unmet(folder)]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("not-there-xyz==1.2", "not-there-xyz==1.2 is not installed"),
        ("Not_There.xyz[extra]>=1 ; python_version > '3.0'", "Not_There.xyz>=1 is not installed"),
        ("not-there @ https://user:token@host/x.whl", "not-there is not installed"),
        ("numpy==1.21.0", f"numpy==1.21.0 is required, numpy {version('numpy')} is installed"),
        ("numpy<2", f"numpy<2 is required, numpy {version('numpy')} is installed"),
        ("not-there==1 \\\n    --hash=sha256:abc", "not-there==1 is not installed"),
        ("not-there==1  # why", "not-there==1 is not installed"),
        ("not-there==1\t# why", "not-there==1 is not installed"),
        ("not-there==1\t--hash=sha256:abc", "not-there==1 is not installed"),
    ],
)
def test_what_is_missing_or_of_another_major_version_is_named(
    tmp_path: Path, line: str, said: str
) -> None:
    (tmp_path / "requirements.txt").write_text(f"mlflow\n{line}\npandas>=1\n", encoding="utf-8")
    assert _said(tmp_path) == [said]
    assert said in warning(tmp_path, "model m version 1")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "# not-there",
        "-r other.txt",
        "-c constraints.txt",
        "--index-url https://user:token@host/simple",
        "-e git+https://token@host/x#egg=not-there",
        "git+https://token@host/x",
        "./wheels/not_there-1.0-py3-none-any.whl",
        "not-there==1; sys_platform == 'win32'",
        "not-there==1; extra == 'gpu'",
        "not-there ==== 1",
        f"numpy=={version('numpy').partition('.')[0]}.0.0",
        "numpy",
        "not-there; " + "(" * 400 + "python_version > '3'" + ")" * 400,
        "x" * 100_000,
    ],
)
def test_other_lines_say_nothing(tmp_path: Path, line: str) -> None:
    (tmp_path / "requirements.txt").write_text(f"pandas\n{line}\n", encoding="utf-8")
    assert _said(tmp_path) == []
    assert warning(tmp_path, "it") == ""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xef\xbb\xbfnot-there==1\r\n", ["not-there==1 is not installed"]),
        (b"not-there==1\xff\xfe", []),
        (b"\x00\x01\x02", []),
        ("not-there==1\n".encode("utf-16"), ["not-there==1 is not installed"]),
        ("# Größe\nnot-there==1\n".encode("latin-1"), ["not-there==1 is not installed"]),
        (b"not-there==1\n" + b"#" * (1 << 20), []),
    ],
)
def test_odd_bytes_are_read_as_far_as_they_are_text(
    tmp_path: Path, content: bytes, said: list[str]
) -> None:
    (tmp_path / "requirements.txt").write_bytes(content)
    assert _said(tmp_path) == said


def test_of_a_conda_file_alone_the_pip_list_is_read(tmp_path: Path) -> None:
    assert not lists_requirements(tmp_path)
    conda = tmp_path / "conda.yaml"
    conda.write_text("dependencies:\n- numpy=1.21\n- pip\n")
    assert not lists_requirements(tmp_path)
    conda.write_text("dependencies:\n- pip<=25\n- pip:\n  - not-there==1\n  - numpy\n  - 7\n")
    assert lists_requirements(tmp_path)
    assert _said(tmp_path) == ["not-there==1 is not installed"]
    lost = load_error(tmp_path, ModuleNotFoundError("No module", name="not_there"))
    assert "Its conda.yaml asks for it: not-there==1 is not installed" in str(lost)
    (tmp_path / "requirements.txt").write_text("")
    assert lists_requirements(tmp_path)
    assert _said(tmp_path) == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("python>=3.7,<3.8", ">=3.7,<3.8"),
        ("python >=3.7,<3.8", ">=3.7,<3.8"),
        ("conda-forge::python=3.7", "3.7"),
        ("python =3.7", "3.7"),
        ("python 3.7.*", "3.7"),
        ("python=3.7.1=h0371630_7", "3.7.1"),
        (f"python>={PYTHON}", ""),
        ("python>=3.7", ""),
        ("python=3", ""),
        ("python", ""),
        ("python-dateutil=2.8", ""),
        ("python=3.7|3.8", ""),
    ],
)
def test_python_as_conda_says_it(tmp_path: Path, asked: str, said: str) -> None:
    (tmp_path / "conda.yaml").write_text(f"dependencies: ['{asked}']\n")
    wanted = f"Python {said} is required, Python {PYTHON.rstrip('+')} is installed"
    assert _said(tmp_path) == ([wanted] if said else [])


def test_without_files_or_with_a_folder_of_that_name_there_is_nothing_to_say(
    tmp_path: Path,
) -> None:
    assert unmet(tmp_path) == ()
    (tmp_path / "requirements.txt").mkdir()
    assert unmet(tmp_path) == ()


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("python_env.yaml", "python: 3.7.1\ndependencies: [-r requirements.txt]\n"),
        ("conda.yaml", "dependencies:\n- python=3.7.1\n- pip<=25\n- pip: [mlflow]\n"),
    ],
)
def test_another_python_is_named(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).write_text(text)
    assert _said(tmp_path) == [
        f"Python 3.7.1 is required, Python {PYTHON.rstrip('+')} is installed"
    ]
    (tmp_path / file).write_text(text.replace("3.7.1", PYTHON.rstrip("+")))
    assert _said(tmp_path) == []
    (tmp_path / file).write_text("python: [1, 2]\ndependencies: 7\n")
    assert _said(tmp_path) == []
    (tmp_path / file).write_text("!!python/object:os.system {}")
    assert _said(tmp_path) == []


@pytest.mark.parametrize(
    ("requirement", "module", "said"),
    [
        ("not-there-xyz==1.2", "not_there_xyz.sub", "asks for it: not-there-xyz==1.2 is not inst"),
        ("opencv-python==4.9", "cv2", "asks for it: opencv-python==4.9 is not installed"),
        ("odd-name==1", "not_there_xyz", "From its requirements.txt, odd-name==1 is not installed"),
        ("numpy", "not_there_xyz", "does not name it: log the model with extra_pip_requirements"),
    ],
)
def test_a_failed_import_names_the_requirement(
    tmp_path: Path, requirement: str, module: str, said: str
) -> None:
    (tmp_path / "requirements.txt").write_text(requirement)
    lacks = "the model needs a package that is not installed"
    with pytest.raises(ModelError, match=lacks) as caught, import_errors(tmp_path):
        __import__(module)
    assert said in str(caught.value)
    assert "ModuleNotFoundError: No module named" in str(caught.value)
    lost = load_error(tmp_path, ModuleNotFoundError(f"No module named {module!r}", name=module))
    assert said in str(lost)


def test_it_is_read_without_what_takes_seconds_to_import() -> None:
    """A worker reads it: no MLflow, no torch, no pandas."""
    code = (
        "import sys, nocturne.model.requirements; "
        "print({'mlflow', 'torch', 'pandas', 'pyspark'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
