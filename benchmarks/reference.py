"""The expected answers, made by the plain eager module, and whether an output equals them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.layout import Layout
from benchmarks.tables import TABLES
from benchmarks.workloads import Workload

__all__ = ["Wrong", "compare", "expected", "make"]

RELATIVE, ABSOLUTE = 1e-5, 1e-6
_COLUMNS = {"id", "category", "score", "model_version"}


class Wrong(Exception):
    """A contender's output is not the expected one; its time does not count."""


@dataclass(frozen=True)
class Expected:
    """Row ``id`` at place ``id``: float32 scores and uint8 places in ``words``."""

    scores: np.ndarray
    categories: np.ndarray
    words: tuple[str, ...]


def make(layout: Layout, workload: Workload) -> None:
    """Score the pool with the eager module, in float32, unless it is done."""
    path = layout.reference(workload)
    files = max(workload.sizes)
    if path.exists() and len(np.load(path, mmap_mode="r")) >= workload.rows(files):
        return
    import torch

    from benchmarks.predict import columns

    table = TABLES[workload.table]
    module = table.network(workload.hidden)
    parts = []
    with torch.inference_mode():
        for number in range(files):
            source = layout.pool(workload) / f"part-{number:05d}.parquet"
            for batch in pq.ParquetFile(source).iter_batches(2048):
                tensors = map(torch.from_numpy, table.encode(columns(batch)))
                parts.append(torch.sigmoid(module(*tensors)[:, 0]).numpy())
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.concatenate(parts))


def expected(layout: Layout, workload: Workload, files: int) -> Expected:
    """What the first ``files`` files must give."""
    scores = np.load(layout.reference(workload))
    table = TABLES[workload.table]
    categories = [table.codes(number, workload.file_rows) for number in range(files)]
    rows = workload.rows(files)
    return Expected(scores[:rows], np.concatenate(categories), table.CATEGORIES)


def compare(folder: Path, wanted: Expected) -> None:
    """Returns if the Parquet files below ``folder`` hold the expected rows, in any order.

    Ids exactly and each once, categories exactly, scores within a relative 1e-5 or an absolute
    1e-6, one model version; the columns' types as well.

    Raises:
        Wrong: says what differs, and where first.
    """
    files = sorted(p for p in folder.rglob("*.parquet") if not p.name.startswith((".", "_")))
    if not files:
        raise Wrong(f"{folder} holds no Parquet file")
    tables = [pq.read_table(f, read_dictionary=["category"], partitioning=None) for f in files]
    found = pa.concat_tables(tables).unify_dictionaries()
    if set(found.schema.names) != _COLUMNS:
        raise Wrong(f"{folder} has the columns {found.schema.names}, expected {sorted(_COLUMNS)}")
    types = [str(found.schema.field(n).type) for n in ("id", "score", "model_version")]
    if types != ["int64", "float", "int32"]:
        raise Wrong(f"{folder}: id, score, model_version are {types}")
    ids = found["id"].to_numpy()
    if len(ids) != len(wanted.scores) or not np.array_equal(np.sort(ids), np.arange(len(ids))):
        raise Wrong(f"{folder}: got {len(ids)} rows, expected ids 0 to {len(wanted.scores)} once")
    scores = found["score"].to_numpy()
    off = np.abs(scores - wanted.scores[ids])
    bad = ~((off <= ABSOLUTE) | (off <= RELATIVE * np.abs(wanted.scores[ids])))
    if bad.any():
        at = int(np.argmax(bad))
        raise Wrong(
            f"{folder}: {bad.sum()} scores differ, first id {ids[at]}: {scores[at]}, "
            f"expected {wanted.scores[ids[at]]}"
        )
    words = found["category"].combine_chunks()
    words = words.chunk(0) if isinstance(words, pa.ChunkedArray) else words
    places = np.array([wanted.words.index(str(w)) for w in words.dictionary])
    if not np.array_equal(places[words.indices.to_numpy()], wanted.categories[ids]):
        raise Wrong(f"{folder}: categories differ")
    if len(np.unique(found["model_version"].to_numpy())) != 1:
        raise Wrong(f"{folder}: more than one model_version")
