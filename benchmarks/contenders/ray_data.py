"""Ray Data: ``read_parquet`` -> ``map_batches`` -> ``write_parquet``, on a Ray of this process."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

import pyarrow as pa

from benchmarks.contenders.arguments import Arguments, parse
from benchmarks.predict import OUTPUT, Predictor, columns, output
from benchmarks.tables import TABLES
from benchmarks.tables.numbers import COLUMNS

SETTINGS = {
    "compute": "tasks",
    "format": "pyarrow",
    "batch": "65536",
    "blocks": "",
    "reader": "v2",
}

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")


def score_table(table: pa.Table, predictor: Predictor, name: str) -> pa.Table:
    """A batch in pyarrow's format: a table, maybe of several chunks."""
    batches = table.combine_chunks().to_batches()
    encode = TABLES[name].encode
    scored = [output(batch, predictor(*encode(columns(batch)))) for batch in batches]
    return pa.Table.from_batches(scored, OUTPUT)


def score_arrays(arrays: dict[str, Any], predictor: Predictor, name: str) -> dict[str, Any]:
    """A batch in numpy's format: one array a column, of numbers."""
    import numpy as np

    scores = predictor(np.stack([arrays[name] for name in COLUMNS], axis=1))
    version = np.full(len(scores), 1, np.int32)
    return {
        "id": arrays["id"],
        "category": arrays["category"],
        "score": scores,
        "model_version": version,
    }


@lru_cache(maxsize=1)
def _predictor(folder: str) -> Predictor:
    return Predictor(folder)  # once a worker process, which Ray uses again


class Actor:
    """A predictor that stays; for ``compute=actors``."""

    def __init__(self, folder: str, numpy: bool, name: str) -> None:
        self.predictor, self.name = Predictor(folder), name
        self.score = score_arrays if numpy else score_table

    def __call__(self, batch: Any) -> Any:
        return self.score(batch, self.predictor, self.name)


def main(args: Arguments) -> None:
    import ray

    ray.init(
        num_cpus=args.processes,
        include_dashboard=False,
        logging_level="ERROR",
        _node_ip_address="127.0.0.1",
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    ray.data.DataContext.get_current().use_datasource_v2 = args.settings["reader"] == "v2"
    blocks = args.settings["blocks"]
    data = ray.data.read_parquet(
        args.files, partitioning=None, override_num_blocks=int(blocks) if blocks else None
    )
    folder, numpy = str(args.model), args.settings["format"] == "numpy"
    name = args.table_name
    options = {"batch_size": args.number("batch"), "batch_format": args.settings["format"]}
    if args.settings["compute"] == "actors":
        pool = ray.data.ActorPoolStrategy(size=args.processes)
        data = data.map_batches(
            Actor, fn_constructor_args=(folder, numpy, name), compute=pool, num_cpus=0.5, **options
        )
    else:
        work = score_arrays if numpy else score_table
        data = data.map_batches(lambda batch: work(batch, _predictor(folder), name), **options)
    data.write_parquet(str(args.output))


if __name__ == "__main__":
    from benchmarks.contenders import ray_data  # workers know what is in it by a module's name

    ray_data.main(parse(SETTINGS))
