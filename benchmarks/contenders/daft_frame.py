"""Daft: ``read_parquet`` -> a class UDF on batches -> ``write_parquet``, on its native runner."""

from __future__ import annotations

import os
import sys

import numpy as np

from benchmarks.contenders.arguments import Arguments, parse
from benchmarks.predict import MODEL_VERSION, Predictor

SETTINGS = {"processes": "", "morsel": "", "batch": "65536", "concurrency": ""}

os.environ.setdefault("DAFT_ANALYTICS_ENABLED", "0")
os.environ.setdefault("DAFT_PROGRESS_BAR", "0")
os.environ.setdefault("DO_NOT_TRACK", "true")


def main(args: Arguments) -> None:
    import daft

    daft.set_runner_native(num_threads=args.processes)
    if args.settings["morsel"]:
        daft.set_execution_config(default_morsel_size=args.number("morsel"))

    table = args.table

    class Scorer:
        def __init__(self, folder: str) -> None:
            self.predictor = Predictor(folder)

        @daft.method.batch(return_dtype=daft.DataType.float32(), batch_size=args.number("batch"))
        def score(self, *columns: daft.Series) -> np.ndarray:
            arrays = {n: c.to_arrow() for n, c in zip(table.COLUMNS, columns, strict=True)}
            return self.predictor(*table.encode(arrays))

    concurrency = args.settings["concurrency"]
    scorer = daft.cls(
        Scorer,
        use_process={"": None, "true": True, "false": False}[args.settings["processes"]],
        max_concurrency=int(concurrency) if concurrency else None,
    )(str(args.model))
    frame = daft.read_parquet(args.files)
    scores = scorer.score(*(daft.col(name) for name in table.COLUMNS))
    version = daft.lit(MODEL_VERSION).cast(daft.DataType.int32())
    frame = frame.select("id", "category", scores.alias("score"), version.alias("model_version"))
    frame.write_parquet(str(args.output))
    sys.stdout.flush()
    os._exit(0)  # its threads may otherwise abort the interpreter while that ends


if __name__ == "__main__":
    main(parse(SETTINGS))
