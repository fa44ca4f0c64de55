"""What the flights' scores must be: the exported graph, its inputs encoded here by hand."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.layout import Layout
from benchmarks.reference import ABSOLUTE, RELATIVE, Wrong

__all__ = ["DAYS", "PIPELINE", "compare", "days", "make"]

PIPELINE = "flight_delay"
DAYS = (1, 30)
_FIRST = dt.date(2013, 4, 1)
_SCORE = "late_probability"
_KEYS = ["time_hour", "carrier", "flight"]


def days(number: int) -> list[str]:
    """The first days of April."""
    return [(_FIRST + dt.timedelta(days=n)).isoformat() for n in range(number)]


def _reference(layout: Layout, day: str) -> Path:
    return layout.base / "reference" / "flights" / f"{day}.parquet"


def make(layout: Layout, source: Path, registry: str) -> None:
    """Each day through the exported graph, encoded here by hand from the encoding spec."""
    missing = [day for day in days(max(DAYS)) if not _reference(layout, day).exists()]
    if not missing:
        return
    import mlflow
    import torch

    mlflow.set_tracking_uri(registry)
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{PIPELINE}@champion"))
    module: Any = torch.export.load(next(folder.rglob("*.pt2"))).module()
    spec = json.loads((folder / "encoding.json").read_text(encoding="utf-8"))
    for day in missing:
        rows = pq.read_table(source / f"ds={day}", partitioning=None)
        tensors = [torch.from_numpy(_encode(rows, tensor)) for tensor in spec["inputs"]]
        with torch.inference_mode():
            scores = torch.sigmoid(module(*tensors)).numpy()
        path = _reference(layout, day)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows.select(_KEYS).append_column(_SCORE, pa.array(scores)), path)


def _encode(rows: pa.Table, tensor: dict[str, Any]) -> np.ndarray:
    """float32 (x - center) / scale, or places in a vocabulary; what is missing by its rule."""
    columns = []
    for feature in tensor["features"]:
        column = rows[feature["column"]].combine_chunks()
        if tensor["encoder"] == "category":
            vocabulary = pa.array(feature["vocabulary"]).cast(column.type)
            places = pc.index_in(column, vocabulary).fill_null(feature["unknown"])
            columns.append(places.to_numpy(zero_copy_only=False).astype(np.int64))
        else:
            values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
            filled = np.where(np.isfinite(values), values, feature["fill"])
            columns.append(((filled - feature["center"]) / feature["scale"]).astype(np.float32))
    return np.stack(columns, axis=1)


def compare(layout: Layout, table: Path, number: int) -> int:
    """The rows published, if each day is the expected one.

    Raises:
        Wrong: a row is missing, or a score differs.
    """
    total = 0
    for day in days(number):
        wanted = pq.read_table(_reference(layout, day))
        folder = table / f"ds={day}"
        if not folder.is_dir():
            raise Wrong(f"{folder} was not published")
        found = pq.read_table(folder, partitioning=None)
        order = [(key, "ascending") for key in _KEYS]
        found, wanted = found.sort_by(order), wanted.sort_by(order)
        if not found.select(_KEYS).equals(wanted.select(_KEYS)):
            raise Wrong(f"{folder}: not the rows of the input")
        one, other = found[_SCORE].to_numpy(), wanted[_SCORE].to_numpy()
        if not np.allclose(one, other, RELATIVE, ABSOLUTE):
            raise Wrong(f"{folder}: scores differ by up to {np.abs(one - other).max()}")
        total += found.num_rows
    return total
