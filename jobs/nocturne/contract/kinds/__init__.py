"""The kinds of models that can be registered, by what a file holds, whatever its name.

To add one: a function that says what it takes and how it is loaded and logged
(``nocturne.contract.handed_in``), and its entry in ``KINDS``.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nocturne.contract.handed_in import HandedIn
from nocturne.errors import ModelError

__all__ = ["KINDS", "Kind", "open_model"]


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        words: for messages.
        code: why opening it may run code; "" if it does not.
        open: the file, and whether code in it may run.
    """

    words: str
    code: str
    open: Callable[[Path, bool], HandedIn]


def _pt2(path: Path, allow_pickle: bool) -> HandedIn:
    from nocturne.contract.kinds.pt2 import of_pt2

    return of_pt2(path, allow_pickle)


def _torchscript(path: Path, _: bool) -> HandedIn:
    from nocturne.contract.kinds.module import of_torchscript

    return of_torchscript(path)


def _pickle(path: Path, _: bool) -> HandedIn:
    from nocturne.contract.kinds.module import of_pickle

    return of_pickle(path)


def _onnx(path: Path, _: bool) -> HandedIn:
    from nocturne.contract.kinds.onnx import of_onnx

    return of_onnx(path)


KINDS = {
    "pt2": Kind("a file of torch.export", "", _pt2),
    "torchscript": Kind(
        "a file of torch.jit.save",
        "TorchScript is a program, which may read and write files",
        _torchscript,
    ),
    "pickle": Kind("a module of torch.save", "a pickle runs what its author wrote", _pickle),
    "onnx": Kind("an ONNX file", "", _onnx),
}


def open_model(source: str, scratch: Path, *, allow_pickle: bool) -> HandedIn:
    """The model in a file, or a logged model of MLflow by its URI.

    Args:
        scratch: an empty folder for files of MLflow.
        allow_pickle: code that is in it may run here.

    Raises:
        ModelError: it is none of the kinds, can't be read, or is code that may not run.
    """
    from nocturne.contract.kinds.logged import is_uri, of_logged

    if is_uri(source):
        return of_logged(source, scratch, allow_pickle)
    path = Path(source).expanduser()
    kind = KINDS[_kind_of(path)]
    if kind.code and not allow_pickle:
        raise ModelError(
            f"{path} is {kind.words}: {kind.code}. If you trust whoever made it, --allow-pickle "
            "loads it; what is registered is its graph as pt2, which is data. Or have it written "
            "by torch.export.save",
            path=str(path),
        )
    return kind.open(path, allow_pickle)


def _kind_of(path: Path) -> str:
    """Raises: ModelError if it is none of ``KINDS``."""
    try:
        with open(path, "rb") as file:
            start = file.read(4)
    except OSError as error:
        raise ModelError(
            f"{path} can't be read: {error.strerror}; expected {_expected()}", path=str(path)
        ) from None
    if start.startswith(b"PK"):
        kind = _kind_of_zip(path)
    elif start[:1] == b"\x80":
        kind = "pickle"
    else:
        kind = "onnx" if start[:1] == b"\x08" else ""
    if not kind:
        raise ModelError(f"{path} is none of {_expected()}", path=str(path))
    return kind


def _kind_of_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.rpartition("/")[2] for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return ""
    if "constants.pkl" in names:
        return "torchscript"
    if "data.pkl" in names:
        return "pickle"
    return "pt2" if names & {"archive_format", "serialized_exported_program.json"} else ""


def _expected() -> str:
    words = ", ".join(kind.words for kind in KINDS.values())
    return f"{words}, or a logged model of MLflow (runs:/RUN/NAME, models:/m-...)"
