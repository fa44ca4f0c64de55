"""What the engine adds to a model of another library that takes a frame.

    PYTHONPATH=jobs:. python -m benchmarks.pyfunc

CPU seconds for 90,000 rows of 10 columns, medians: calling the model directly on a frame that is
there, and the engine's encode, predict and convert on RecordBatches (it makes the frame). xgboost
and lightgbm are measured where they are installed (the extra ``strangers``).
"""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
from mlflow.models import infer_signature

from nocturne.engine import score
from nocturne.model.signature import encoding_of_signature
from nocturne.pyfunc.load import load
from nocturne.records.plan import ModelRef

ROWS, COLUMNS, ROUNDS = 90_000, 10, 7
SIZES = (1024, 65_536)


def _sklearn(x: pd.DataFrame, y: Any) -> tuple[Any, Any]:
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return mlflow.sklearn, make_pipeline(StandardScaler(), LinearRegression()).fit(x, y)


def _xgboost(x: pd.DataFrame, y: Any) -> tuple[Any, Any]:
    import xgboost

    return mlflow.xgboost, xgboost.XGBRegressor(n_estimators=20, n_jobs=1).fit(x, y)


def _lightgbm(x: pd.DataFrame, y: Any) -> tuple[Any, Any]:
    import lightgbm

    return mlflow.lightgbm, lightgbm.LGBMRegressor(n_estimators=20, n_jobs=1, verbose=-1).fit(x, y)


MODELS: dict[str, Callable[[pd.DataFrame, Any], tuple[Any, Any]]] = {
    "sklearn": _sklearn,
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
}


def _cpu(call: Callable[[], Any]) -> float:
    """Median CPU seconds of a call, after one that is not counted."""
    call()
    found = []
    for _ in range(ROUNDS):
        began = time.process_time()
        call()
        found.append(time.process_time() - began)
    return statistics.median(found)


def _row(name: str, frame: pd.DataFrame, target: Any) -> str:
    """A line of the table."""
    flavor, model = MODELS[name](frame, target)
    batches = pa.Table.from_pandas(frame, preserve_index=False).to_batches(max_chunksize=65_536)
    found = [_cpu(lambda: model.predict(frame))]
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "m")
        signature = infer_signature(frame, model.predict(frame[:9]))
        flavor.save_model(model, path, signature=signature)
        encoding = encoding_of_signature(ModelRef(name, 1, "", "pyfunc", "0" * 64, path))
        loaded = load(path, encoding)
        for size in SIZES:
            found.append(
                _cpu(lambda n=size: list(score(batches, loaded, encoding, micro_batch=n)))  # type: ignore[misc]
            )
    return f"| {name} | " + " | ".join(f"{seconds:.3f}" for seconds in found) + " |"


def main() -> None:
    warnings.simplefilter("ignore")
    random = np.random.default_rng(1)
    frame = pd.DataFrame(
        random.normal(size=(ROWS, COLUMNS)), columns=[f"x{n}" for n in range(COLUMNS)]
    )
    print("| model | direct |", " | ".join(f"engine, {size:,} rows a call" for size in SIZES), "|")
    for name in MODELS:
        if find_spec(name) is not None:
            print(_row(name, frame, frame.sum(axis=1)), flush=True)


if __name__ == "__main__":
    main()
