"""Nightly batch scoring on Airflow, Spark, MLflow and PyTorch, published exactly once."""

import logging

_log = logging.getLogger(__name__)
if _log.level == logging.NOTSET:
    # Importing mlflow.pytorch sets the root logger to ERROR, which would silence our warnings.
    _log.setLevel(logging.WARNING)
