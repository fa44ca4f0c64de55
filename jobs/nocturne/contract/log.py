"""Logs a torch module with its encoding and baseline, and registers a model of any flavor."""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import mlflow.artifacts
import mlflow.pytorch
import pyarrow as pa
import torch
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from nocturne.codec import dump
from nocturne.contract.baseline import baseline as make_baseline
from nocturne.contract.baseline import predict
from nocturne.contract.encodings import tensors
from nocturne.encoding import ENCODING_FILE, Encoding
from nocturne.engine import Model, load_torch, load_trusted
from nocturne.errors import InputError, ModelError
from nocturne.model.digests import tag_digest
from nocturne.model.pt2 import check_pt2
from nocturne.model.registry import BASELINE_FILE
from nocturne.records.drift import Baseline

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models.model import ModelInfo

__all__ = ["LoggedTorchModel", "log_torch_model", "register"]

_EXAMPLE_ROWS = 32


@dataclass(frozen=True)
class LoggedTorchModel:
    """The model that ``log_torch_model`` logged; ``version`` is None if it is not registered."""

    model_id: str
    model_uri: str
    baseline: Baseline
    name: str | None = None
    version: int | None = None


def log_torch_model(
    module: torch.nn.Module,
    encoding: Encoding,
    data: pa.Table,
    *,
    name: str,
    partitions: Sequence[str] | None = None,
    importance: Mapping[str, float] | None = None,
    segments: Sequence[str] = (),
    registered_model_name: str | None = None,
    alias: str | None = None,
    tags: Mapping[str, str] | None = None,
    pip_requirements: Sequence[str] | None = None,
) -> LoggedTorchModel:
    """Log a torch module as ``pt2`` with its encoding and baseline, and register it on request.

    ``pt2`` (torch.export) is a graph and not a pickle, so loading it runs no code. The logged model
    is loaded and scores the training data: the baseline is that of the model that a night runs, and
    a graph that is fixed to a number of rows is noticed. A module with operators of other libraries
    is logged with a warning, since its pipeline needs ``model.allow_pickle``.

    Args:
        module: takes one tensor, rows first, for each input of ``encoding``, in order; returns one
            tensor [rows] or [rows, 1] for each output. It is logged in evaluation mode, from the
            CPU; ``module`` itself is not changed.
        data: the training data, before encoding.
        partitions, importance, segments: see ``baseline``.
        name: the name of the logged model; it belongs to the active run, if there is one.
        registered_model_name: the name to register the model by; default: it is not registered.
        alias, tags: of the registered version; they need ``registered_model_name``.
        pip_requirements: default: the installed torch and MLflow.

    Raises:
        InputError: the data have no such column, or fewer than two rows.
        ModelError: the module can't be exported, or its outputs do not match the encoding.
    """
    if (alias or tags) and not registered_model_name:
        raise ModelError(
            "alias and tags belong to a registered version: give registered_model_name too"
        )
    if data.num_rows < 2:
        raise InputError(
            f"got {data.num_rows} rows of training data, expected at least 2: the number of rows "
            "stays open in the exported graph only if the example has more than one"
        )
    info = _log_pt2(module, encoding, data, name, pip_requirements)
    with tempfile.TemporaryDirectory() as folder:
        local = mlflow.artifacts.download_artifacts(info.model_uri, dst_path=folder)
        try:
            predictions = predict(_loaded(local, encoding, name), encoding, data)
        except ModelError as error:
            raise ModelError(
                f"the model {name!r} was exported, but can't score its own training data: {error} "
                "Its forward must take any number of rows (no shape taken from the example) and "
                "return one value a row for each output of the encoding"
            ) from error
    built = make_baseline(
        data,
        predictions,
        partitions=partitions,
        encoding=encoding,
        importance=importance,
        segments=segments,
    )
    version = None
    if registered_model_name:
        version = register(
            info, registered_model_name, alias=alias, tags=tags, encoding=encoding, baseline=built
        )
    else:
        _attach(info.model_id, {ENCODING_FILE: encoding.to_json(), BASELINE_FILE: dump(built)})
    return LoggedTorchModel(
        model_id=info.model_id,
        model_uri=info.model_uri,
        baseline=built,
        name=registered_model_name,
        version=None if version is None else int(version.version),
    )


def _loaded(folder: str, encoding: Encoding, name: str) -> Model:
    """The model as a night loads it. The caller has made the export, so it may run code."""
    try:
        for path in Path(folder).rglob("*.pt2"):
            check_pt2(path)
    except ModelError as error:
        warnings.warn(
            f"the model {name!r} is loaded by a pipeline with `model.allow_pickle: true` only, and "
            f"where its libraries are installed: {error}",
            stacklevel=3,
        )
        return load_trusted(folder, encoding)
    return load_torch(folder, encoding)


def _log_pt2(
    module: torch.nn.Module,
    encoding: Encoding,
    data: pa.Table,
    name: str,
    requirements: Sequence[str] | None,
) -> ModelInfo:
    example = [tensor.numpy() for tensor in tensors(data.slice(0, _EXAMPLE_ROWS), encoding)]
    signature = ModelSignature(
        inputs=Schema(
            [
                TensorSpec(array.dtype, (-1, *array.shape[1:]), spec.name)
                for array, spec in zip(example, encoding.inputs, strict=True)
            ]
        )
    )
    versions = [f"torch=={torch.__version__.split('+')[0]}", f"mlflow=={mlflow.__version__}"]
    try:
        info: ModelInfo = mlflow.pytorch.log_model(
            copy.deepcopy(module).cpu().eval(),
            name=name,
            signature=signature,
            input_example=tuple(example),
            serialization_format="pt2",
            pip_requirements=list(requirements or versions),
        )
        return info
    except Exception as error:
        line = str(error).strip().split("\n", 1)[0]
        raise ModelError(
            f"the module can't be exported as pt2 (torch.export): {type(error).__name__}: {line}. "
            f"It is called with {len(example)} tensors, "
            + ", ".join(
                f"{s.name} {a.dtype}[rows, {a.shape[1]}]"
                for a, s in zip(example, encoding.inputs, strict=True)
            )
            + "; try torch.export.export on them in the training script"
        ) from error


def register(
    model: ModelInfo | str,
    name: str,
    *,
    alias: str | None = None,
    tags: Mapping[str, str] | None = None,
    encoding: Encoding | None = None,
    baseline: Baseline | None = None,
) -> ModelVersion:
    """Register a logged model of any flavor, with its encoding and baseline.

    The two are first written to the model's artifact folder, so that ``models:/name/version``
    contains them; the version is tagged with the digest of its files, and the alias is set last.

    Args:
        model: the return value of ``mlflow.<flavor>.log_model``, or a model id (``m-...``).

    Raises:
        ModelError: ``model`` is not a logged model.
    """
    model_id = model if isinstance(model, str) else getattr(model, "model_id", None)
    model_id = (model_id or "").removeprefix("models:/")
    if not model_id.startswith("m-"):
        raise ModelError(
            f"got {model!r}, expected what mlflow.<flavor>.log_model(..., name=...) returned, or "
            "a model id such as m-0123abcd"
        )
    files = {}
    if encoding is not None:
        files[ENCODING_FILE] = encoding.to_json()
    if baseline is not None:
        files[BASELINE_FILE] = dump(baseline)
    _attach(model_id, files)
    version = mlflow.register_model(f"models:/{model_id}", name, tags=dict(tags or {}))
    tag_digest(mlflow.MlflowClient(), name, version.version)
    if alias:
        mlflow.MlflowClient().set_registered_model_alias(name, alias, version.version)
    return version


def _attach(model_id: str, files: Mapping[str, str]) -> None:
    """Write text files to the logged model's artifact folder."""
    if not files:
        return
    with tempfile.TemporaryDirectory() as folder:
        for file, text in files.items():
            Path(folder, file).write_text(text, encoding="utf-8")
        mlflow.MlflowClient().log_model_artifacts(model_id, folder)
