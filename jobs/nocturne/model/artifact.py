"""Checks the folder of a model from the registry: its MLmodel file, and which files are code.

Anyone who can register a model writes these files. They are therefore checked before anything loads
them: MLmodel is read by the safe YAML reader, and every file is compared with the files that an
artifact of its flavor may contain (metadata by name, one data file by its content). Any other file
counts as code.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nocturne.encoding import ENCODING_FILE
from nocturne.errors import ModelError
from nocturne.model.formats import FORMATS
from nocturne.model.pt2 import check_pt2
from nocturne.safe_yaml import load_yaml

__all__ = ["BASELINE_FILE", "REGISTRATION", "code_in", "is_pt2", "mlmodel", "require_plain_files"]

BASELINE_FILE = "baseline.json"
REGISTRATION = "registered_model_meta"
"""MLflow writes this file at the top of each download; it is not part of the model's content."""
_ENVIRONMENT = (
    "MLmodel",
    "conda.yaml",
    "constraints.txt",
    "python_env.yaml",
    "requirements.txt",
)
_METADATA = {
    *_ENVIRONMENT,
    *(f"metadata/{name}" for name in _ENVIRONMENT),
    REGISTRATION,
    ENCODING_FILE,
    BASELINE_FILE,
    "input_example.json",
    "serving_input_example.json",
    "environment_variables.txt",
}
"""Files that are never executed: their readers parse YAML (safely), JSON or lines of text."""
_NOTES = "extra_files/"
"""The files of ``log_model(extra_files=...)``, which no loader reads."""
_PREDICT = {"predict", "predict_proba", "predict_log_proba", "predict_joint_log_proba", "score"}
"""The methods of a model that MLflow may call (``predict_fn``)."""


def mlmodel(folder: Path, what: str) -> dict[str, Any]:
    """The content of the MLmodel file; its flavors are a mapping of mappings.

    Raises:
        ModelError: the file is missing or empty, is not plain YAML, or has no flavors.
    """
    path = folder / "MLmodel"
    try:
        text = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise ModelError(
            f"{what} has no MLmodel file, so nothing says what it is. Were its files deleted from "
            "the artifact store? Log and register it again"
        ) from None
    metadata = load_yaml(text, f"the MLmodel file of {what}", ModelError)
    flavors = metadata.get("flavors")
    sections = flavors.items() if isinstance(flavors, dict) else [(None, None)]
    if not all(isinstance(name, str) and isinstance(conf, dict) for name, conf in sections):
        raise ModelError(
            f"the MLmodel file of {what} has no `flavors:` with a section each; log the model "
            "again with mlflow.<flavor>.log_model"
        )
    return metadata


def require_plain_files(folder: Path, what: str) -> None:
    """Check that a folder contains only files and folders, so that a copy is what is registered.

    A link to a file within the folder counts as that file.

    Raises:
        ModelError: a link leads out of the folder, to a folder or to nothing; or an entry is
            neither a file nor a folder, or its name is not UTF-8.
    """
    home = folder.resolve()
    for parent, folders, files in os.walk(folder, onerror=_raise):
        for name in (*folders, *files):
            path = Path(parent, name)
            relative = path.relative_to(folder)
            try:
                name.encode()
            except UnicodeEncodeError:
                raise ModelError(
                    f"{what} has a file or folder whose name is not UTF-8, "
                    f"{os.fsencode(relative)!r}; register it with another name, or without it"
                ) from None
            if path.is_symlink():
                target = path.resolve()
                if not target.is_relative_to(home) or not target.is_file():
                    raise ModelError(
                        f"{what} has a link, {relative} -> {path.readlink()}, that leads out of "
                        "its folder, to a folder or to nothing; register it with the file itself",
                        path=str(path),
                    )
            elif not stat.S_ISREG(mode := path.lstat().st_mode) and not stat.S_ISDIR(mode):
                raise ModelError(
                    f"{what}: {relative} is neither a file nor a folder", path=str(path)
                )


def _raise(error: OSError) -> None:
    raise error


def is_pt2(folder: Path, metadata: Mapping[str, Any]) -> bool:
    """Whether it is a pytorch model saved as pt2, which runs without MLflow."""
    return "pytorch" in metadata["flavors"] and bool(_pt2_files(folder))


def _pt2_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.pt2") if path.is_file()]


def code_in(folder: Path, metadata: Mapping[str, Any]) -> dict[str, str]:
    """File -> the reason why it may run code when the model is loaded."""
    flavors: Mapping[str, Mapping[str, Any]] = metadata["flavors"]
    reasons = {}
    for name, conf in flavors.items():
        if conf.get("code"):
            reasons["MLmodel"] = (
                f"flavor {name} puts {conf['code']!r} on the path of Python's modules"
            )
    if is_pt2(folder, metadata):
        data = {path.relative_to(folder).as_posix() for path in _pt2_files(folder)}
        for name in sorted(data):
            try:
                check_pt2(folder / name)
            except ModelError as error:
                reasons[name] = str(error)
    else:
        data, pyfunc_reasons = _pyfunc(folder, flavors)
        reasons |= pyfunc_reasons
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        is_known = name in _METADATA | data | reasons.keys() or name.startswith(_NOTES)
        if path.is_file() and not is_known:
            reasons[name] = _kind(path)
    return reasons


def _pyfunc(
    folder: Path, flavors: Mapping[str, Mapping[str, Any]]
) -> tuple[set[str], dict[str, str]]:
    """The data files that the loader of the python_function flavor reads, and why they may be code.

    If there is a reason, there are no data files.
    """
    conf = flavors.get("python_function", {})
    loader, call = conf.get("loader_module"), str(conf.get("predict_fn", "predict"))
    file_format = FORMATS.get(str(loader))
    if file_format is None or file_format.flavor not in flavors:
        return set(), {"MLmodel": f"its loader_module {loader!r} may run code from its files"}
    if call not in _PREDICT:
        return set(), {"MLmodel": f"its predict_fn is {call!r}"}
    section = flavors[file_format.flavor]
    # If the file is in another folder, MLflow reads the MLmodel file of that folder too. A flavor
    # may name its file in two places.
    data_files = {str(c[key]) for c in (conf, section) for key in file_format.keys if c.get(key)}
    name = next(iter(data_files), "")
    if len(data_files) != 1 or "/" in name or not _is_file(folder / name) or name in _METADATA:
        listed = " and ".join(file[:80] for file in sorted(data_files)) or "none"
        return set(), {"MLmodel": f"it names {listed} as its data, expected one file beside it"}
    why = file_format.check(folder / name, section)
    if why:
        return set(), {name: why}
    data = {name}
    if file_format.flavor == "onnx":
        # The model names other files in its folder for large tensors; they are mapped as numbers.
        content = (folder / name).read_bytes()
        data |= {p.name for p in folder.iterdir() if p.is_file() and p.name.encode() in content}
        if REGISTRATION in data:  # in no digest, so it must not be read as weights
            return set(), {name: f"it names {REGISTRATION}, which MLflow writes, as its data"}
    return data, {}


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have
        return False


_PICKLES = (".pkl", ".pickle", ".joblib", ".cloudpickle", ".pth", ".pt")
_PYTHON = (".py", ".pyc", ".pyd", ".so", ".zip", ".whl", ".egg")


def _kind(path: Path) -> str:
    with open(path, "rb") as file:
        start = file.read(2)
    pickled = len(start) == 2 and start[0] == 0x80 and 2 <= start[1] <= 5  # protocols 2 to 5
    if pickled or path.suffix.lower() in _PICKLES:
        return "a pickle"
    if path.suffix.lower() in _PYTHON:
        return "Python or a library"
    return "not a file of data that this flavor has"
