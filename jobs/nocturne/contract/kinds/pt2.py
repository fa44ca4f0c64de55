"""A ``pt2`` file of torch.export, which is logged as it is.

It is read by ``nocturne.model.pt2``, which runs nothing of it. MLflow would let torch load it.
"""

from __future__ import annotations

import platform
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import torch
from mlflow.entities import LoggedModel
from mlflow.models import Model as MlflowModel

from nocturne.contract.encodings import tensors
from nocturne.contract.handed_in import HandedIn
from nocturne.contract.kinds.shapes import check_shapes
from nocturne.contract.kinds.tensors import example_of, packages, signature_of_tensors
from nocturne.encoding import Encoding
from nocturne.engine import load_torch, load_trusted
from nocturne.engine.pt2 import load_pt2, slots_of
from nocturne.errors import ModelError
from nocturne.model.declared_inputs import DeclaredInputs
from nocturne.model.pt2 import check_pt2

__all__ = ["log_file", "of_pt2"]


def of_pt2(path: Path, allow_pickle: bool = False) -> HandedIn:
    """A ``pt2`` file.

    Args:
        allow_pickle: torch may load what is more than a graph of its operators.

    Raises:
        ModelError: it is damaged, or more than tensors and a graph of torch's operators.
    """
    kind = f"the pt2 file {path}"

    def log(encoding: Encoding, data: pa.Table, model: LoggedModel) -> None:
        log_file(path, encoding, data, model)

    try:
        check_pt2(path)
    except ModelError as error:
        if not allow_pickle:
            raise ModelError(
                f"{error}. With --allow-pickle torch loads it, which may run code from the file: "
                "only if you trust whoever made it",
                path=str(path),
            ) from None
        takes = DeclaredInputs(dtype="float32")
        return HandedIn(kind, takes, lambda encoding: load_trusted(str(path), encoding), log)
    slots, program = slots_of(str(path)), load_pt2(str(path))

    def check(encoding: Encoding, data: pa.Table) -> None:
        names = [tensor.name for tensor in encoding.inputs]
        example = [tensor.numpy() for tensor in tensors(data.slice(0, 2), encoding)]
        order = program.order(names)
        check_shapes(kind, slots, [names[i] for i in order], [example[i] for i in order])

    return HandedIn(
        kind,
        DeclaredInputs(slots=slots),
        lambda encoding: load_torch(str(path), encoding),
        log,
        check,
    )


def log_file(file: Path, encoding: Encoding, data: pa.Table, model: LoggedModel) -> None:
    """Log a ``pt2`` file, byte by byte, as MLflow's pytorch flavor lays it out."""
    signature = signature_of_tensors(encoding, example_of(encoding, data))
    written = {
        "requirements.txt": "\n".join(packages()) + "\n",
        "python_env.yaml": f"python: {platform.python_version()}\n"
        "dependencies:\n- -r requirements.txt\n",
    }

    def save_model(path: str, mlflow_model: MlflowModel, **_: Any) -> None:
        folder = Path(path)
        (folder / "data").mkdir(parents=True)
        shutil.copyfile(file, folder / "data" / "model.pt2")
        for filename, text in written.items():
            (folder / filename).write_text(text, encoding="utf-8")
        mlflow_model.signature = signature
        mlflow_model.add_flavor(
            "pytorch", model_data="data", pytorch_version=str(torch.__version__)
        )
        mlflow_model.save(str(folder / "MLmodel"))

    flavor = SimpleNamespace(__name__="mlflow.pytorch", save_model=save_model)
    MlflowModel.log(artifact_path=None, name=model.name, flavor=flavor, model_id=model.model_id)
