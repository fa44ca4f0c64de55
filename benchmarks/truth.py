"""``python -m benchmarks.truth``: the join of many scores with their labels, its time and memory.

One night of scores (three splits, as a night of that size has many) and as many labels in another
order; a hundredth of them has no partner. The table and its manifest are made without scoring, by
the project's own classes; what is measured is ``counted`` in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.layout import RESULTS
from benchmarks.machine import machine

_CHUNK = 1_000_000


def _write(folder: Path, rows: int) -> None:
    """Scores by id, and labels by id in another order."""
    random = np.random.default_rng(0)
    with (
        pq.ParquetWriter(folder / "scores.parquet", _SCORES) as scores,
        pq.ParquetWriter(folder / "labels.parquet", _LABELS) as labels,
    ):
        step = max(1, rows // _CHUNK)
        for n in range(step):
            first = n * _CHUNK
            count = min(_CHUNK, rows - first) if n < step - 1 else rows - first
            ids = np.arange(first, first + count)
            p = _score(ids)
            words = np.array(["EWR", "JFK", "LGA"])[ids % 3]
            scores.write_table(
                pa.table([ids, words, p, np.full(count, 7, np.int32)], schema=_SCORES),
                row_group_size=count,
            )
            # Spread over the whole night: each chunk of labels has ids of all chunks of scores.
            others = (np.arange(count) * step + n) % rows + rows // 100
            late = random.random(count) < _score(others)
            labels.write_table(pa.table([others, late], schema=_LABELS), row_group_size=count)


def _score(ids: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """A score between 0 and 1 that looks like chance."""
    mixed = (ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
    return (mixed / float(1 << 24)).astype(np.float32)


_SCORES = pa.schema(
    [
        ("id", pa.int64()),
        ("origin", pa.string()),
        ("score", pa.float32()),
        ("model_version", pa.int32()),
    ]
)
_LABELS = pa.schema([("id", pa.int64()), ("late", pa.bool_())])


def _count(folder: Path) -> None:
    """In a process of its own: joins and counts, and prints seconds and memory."""
    from types import SimpleNamespace

    from nocturne.config.labels import Labels
    from nocturne.operate.truth.counts import counted
    from nocturne.operate.truth.files import LabelFiles
    from nocturne.operate.truth.rows import Scored
    from nocturne.operate.truth.scores import ScoreFiles

    paths = {name: folder / f"{name}.parquet" for name in ("scores", "labels")}
    rows = pq.read_metadata(paths["scores"]).num_rows
    files = ScoreFiles("night", (paths["scores"],), rows, _SCORES)
    manifest = SimpleNamespace(model=SimpleNamespace(version=7))
    output = SimpleNamespace(keys=["id"])
    labels = Labels(path="labels", column="late", segments=["origin"])
    pipeline = SimpleNamespace(name="night", output=output, labels=labels)
    loaded = SimpleNamespace(pipeline=pipeline)
    began, cpu = time.perf_counter(), time.process_time()
    found = counted(
        loaded,  # type: ignore[arg-type]
        labels,
        Scored(manifest, files, "score"),  # type: ignore[arg-type]
        {},
        LabelFiles((paths["labels"],), rows, _LABELS),
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = found["parts"]["all"].figures
    print(
        json.dumps(
            {
                "rows": rows,
                "joined": found["rows"],
                "seconds": round(time.perf_counter() - began, 1),
                "cpu_seconds": round(time.process_time() - cpu, 1),
                "peak_mb": round(peak),
                "auc": figures["auc"],
                "auc_error": figures.get("auc_error", 0.0),
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.truth", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[5_000_000, 50_000_000])
    parser.add_argument("--count", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.count is not None:
        _count(args.count)
        return
    found = []
    for rows in args.rows:
        folder = Path(tempfile.mkdtemp(prefix="nocturne-benchmark-"))
        try:
            _write(folder, rows)
            command = [sys.executable, "-m", "benchmarks.truth", "--count", str(folder)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found.append(json.loads(done.stdout.splitlines()[-1]))
            print(found[-1], flush=True)
        finally:
            shutil.rmtree(folder)
    text = json.dumps({"machine": machine(1), "runs": found}, indent=1)
    (RESULTS / "truth.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
