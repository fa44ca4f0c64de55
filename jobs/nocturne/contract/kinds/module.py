"""A torch module in memory, in a pickled file, or as TorchScript. Each is logged as ``pt2``."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow.pytorch
import numpy as np
import pyarrow as pa
import torch
from mlflow.entities import LoggedModel
from numpy.typing import NDArray

from nocturne.contract.handed_in import HandedIn
from nocturne.contract.kinds.pt2 import log_file
from nocturne.contract.kinds.tensors import example_of, packages, signature_of_tensors
from nocturne.encoding import Encoding
from nocturne.engine import TorchModel
from nocturne.errors import ModelError
from nocturne.model.declared_inputs import DeclaredInputs

__all__ = ["of_module", "of_pickle", "of_torchscript"]

_TAKES = DeclaredInputs(dtype="float32")
"""A module says nothing of what it takes."""


def of_module(
    module: torch.nn.Module, requirements: Sequence[str] | None = None, kind: str = "the module"
) -> HandedIn:
    """A torch module, in evaluation mode and on the CPU; ``module`` itself is not changed."""
    frozen = copy.deepcopy(module).cpu().eval()

    def log(encoding: Encoding, data: pa.Table, model: LoggedModel) -> None:
        example = example_of(encoding, data)
        with _export_errors(kind, encoding, example):
            mlflow.pytorch.log_model(
                frozen,
                name=model.name,
                model_id=model.model_id,
                signature=signature_of_tensors(encoding, example),
                input_example=tuple(example),
                serialization_format="pt2",
                pip_requirements=list(requirements or packages()),
            )

    return HandedIn(kind, _TAKES, lambda encoding: TorchModel(frozen), log)


def of_pickle(path: Path) -> HandedIn:
    """A module that ``torch.save`` has pickled. Loading it runs the code that is in the file.

    Raises:
        ModelError: it can't be loaded, or is no module.
    """
    module = _loaded(
        path,
        lambda: torch.load(path, map_location="cpu", weights_only=False),
        "Its classes have to be importable here: put their folder on PYTHONPATH",
    )
    if not isinstance(module, torch.nn.Module):
        raise ModelError(
            f"{path} has a {type(module).__name__}, expected a torch.nn.Module (weights alone do "
            "not say what is computed): torch.save the module, or better torch.export.save it"
        )
    return of_module(module, kind=f"the module in {path}")


def of_torchscript(path: Path) -> HandedIn:
    """A TorchScript program. It runs no Python, but may read and write files.

    Raises:
        ModelError: it can't be loaded.
    """
    kind = f"the TorchScript in {path}"
    load: Callable[..., Any] = torch.jit.load
    script = _loaded(path, lambda: load(path, map_location="cpu"), "Save it again").eval()

    def log(encoding: Encoding, data: pa.Table, model: LoggedModel) -> None:
        from torch._export.converter import TS2EPConverter  # torch.export.export says to use it

        example = example_of(encoding, data)
        with tempfile.TemporaryDirectory() as folder:
            exported = Path(folder, "model.pt2")
            with _export_errors(kind, encoding, example):
                arguments = tuple(torch.from_numpy(np.array(array)) for array in example)
                torch.export.save(TS2EPConverter(script, arguments).convert(), exported)
            log_file(exported, encoding, data, model)

    return HandedIn(kind, _TAKES, lambda encoding: TorchModel(script), log)


def _loaded(path: Path, load: Callable[[], Any], advice: str) -> Any:
    try:
        return load()
    except Exception as error:
        raise ModelError(
            f"torch can't load {path}: {type(error).__name__}: {_line(error)}. {advice}",
            path=str(path),
        ) from error


@contextmanager
def _export_errors(
    kind: str, encoding: Encoding, example: list[NDArray[np.generic]]
) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        takes = ", ".join(
            f"{spec.name} {array.dtype}{['rows', *array.shape[1:]]}".replace("'", "")
            for array, spec in zip(example, encoding.inputs, strict=True)
        )
        raise ModelError(
            f"{kind} can't be exported as pt2 (torch.export): {type(error).__name__}: "
            f"{_line(error)}. It is called with {len(example)} tensors, {takes}; try "
            "torch.export.export on them in the training script"
        ) from error


def _line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0][:500]
