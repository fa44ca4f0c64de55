"""Logs a torch module with its encoding and baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import torch

from nocturne.contract.handed_in import LoggedModel, log_handed_in
from nocturne.contract.kinds.module import of_module
from nocturne.contract.versions import alias_before, move_alias
from nocturne.encoding import Encoding
from nocturne.errors import InputError, ModelError

__all__ = ["log_torch_model"]


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
) -> LoggedModel:
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
        Superseded: somebody else has moved the alias meanwhile; the version is registered.
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
    over = alias_before(registered_model_name or "", alias)
    logged = log_handed_in(
        of_module(module, pip_requirements),
        encoding,
        data,
        name=name,
        allow_pickle=True,  # the caller makes the export
        partitions=partitions,
        importance=importance,
        segments=segments,
        registered_model_name=registered_model_name,
        tags=tags,
    )
    if alias and logged.name and logged.version:
        move_alias(logged.name, alias, logged.version, over)
    return logged
