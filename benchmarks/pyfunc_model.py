"""The predict function as an MLflow PythonModel, logged from this file (no pickle)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd

from benchmarks.predict import Predictor


class Frozen(mlflow.pyfunc.PythonModel):
    """Takes the feature columns, gives the scores."""

    def load_context(self, context: Any) -> None:
        self.predictor = Predictor(Path(context.artifacts["frozen"]).parent)

    def predict(self, context: Any, model_input: pd.DataFrame) -> np.ndarray:
        rows = np.ascontiguousarray(model_input.to_numpy(np.float32))
        return self.predictor(rows)


mlflow.models.set_model(Frozen())
