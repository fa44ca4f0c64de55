"""Nightly batch scoring on Airflow, Spark, MLflow and PyTorch, published exactly once.

What another program needs, by where it lives; a name is imported when it is first used, so that
``import nocturne`` costs nothing:

    load, partition, span                   nocturne.config: a pipeline from its YAML, its nights
    score_range                             nocturne.pipeline.night: score and publish nights
    score_udf                               nocturne.spark: a model as a column of any Spark job
    log_torch_model, register, baseline,    nocturne.contract: what a training script logs
    infer_encoding, tensors, use_project
    NocturneError, RetryableError,          nocturne.errors, with the whole tree
    TerminalError
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nocturne.config import load, partition, span
    from nocturne.contract import infer_encoding, log_torch_model, register, tensors, use_project
    from nocturne.contract.baseline import baseline
    from nocturne.errors import NocturneError, RetryableError, TerminalError
    from nocturne.pipeline.night import score_range
    from nocturne.spark import score_udf

__all__ = [
    "NocturneError",
    "RetryableError",
    "TerminalError",
    "baseline",
    "infer_encoding",
    "load",
    "log_torch_model",
    "partition",
    "register",
    "score_range",
    "score_udf",
    "span",
    "tensors",
    "use_project",
]

_HOMES = {
    "config": ("load", "partition", "span"),
    "contract": (
        "baseline",
        "infer_encoding",
        "log_torch_model",
        "register",
        "tensors",
        "use_project",
    ),
    "errors": ("NocturneError", "RetryableError", "TerminalError"),
    "pipeline.night": ("score_range",),
    "spark": ("score_udf",),
}

_log = logging.getLogger(__name__)
if _log.level == logging.NOTSET:
    # Importing mlflow.pytorch sets the root logger to ERROR, which would silence our warnings.
    _log.setLevel(logging.WARNING)


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
