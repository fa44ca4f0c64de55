"""What profile and expectations cost in the scoring pass, and a second scan beside it.

    python -m benchmarks.in_pass               the light model, 20 features, 30 expectations
    python -m benchmarks.in_pass --spark       Great Expectations' Spark engine on the same suite

In one process, set up as Spark's workers are (one thread), splits of 1,048,576 rows are scored
again and again with nothing counted, with the profile, and with profile and expectations, by
turns; medians of processor seconds. The second scan is a slope too: added seconds for added rows,
on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from benchmarks.layout import RESULTS, Layout, partition_key
from benchmarks.prepare import prepare
from benchmarks.tables.numbers import CATEGORIES, COLUMNS
from benchmarks.workloads import WORKLOADS

FILE = RESULTS / "in_pass.json"
MILLION = 1_000_000


def suite() -> dict[str, Any]:
    """30 expectations as people write them: ranges, nulls, moments, a set, a pattern."""

    def one(type_: str, **kwargs: Any) -> dict[str, Any]:
        return {"type": f"expect_{type_}", "kwargs": kwargs}

    found = [
        one("column_values_to_be_between", column=name, min_value=-9, max_value=9)
        for name in COLUMNS
    ]
    found += [one("column_values_to_not_be_null", column=name) for name in COLUMNS[:4]]
    found += [
        one("column_mean_to_be_between", column=name, min_value=-1, max_value=1)
        for name in COLUMNS[:2]
    ]
    found += [
        one("column_values_to_be_in_set", column="category", value_set=list(CATEGORIES)),
        one("column_values_to_match_regex", column="category", regex="^[a-z]{5}$"),
        one("column_values_to_not_be_null", column="id"),
        one("table_row_count_to_be_between", min_value=1),
    ]
    assert len(found) == 30
    return {"name": "thirty", "expectations": found}


def counted(layout: Layout, rounds: int) -> dict[str, Any]:
    """Processor microseconds a row of each variant, and what they add in percent."""
    import pyarrow as pa
    import torch

    from nocturne import config, quality
    from nocturne.pipeline import prepare as plan
    from nocturne.records.plan import Table
    from nocturne.store.run import Run
    from nocturne.worker import split
    from nocturne.worker.warm import keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    workload = WORKLOADS["light"]
    os.environ["NOCTURNE_HOME"] = str(layout.project)
    pinned = {"scoring.kernel": "onednn", "scoring.micro_batch": 8192}
    loaded = config.load(f"bench_{workload.name}", overrides=pinned)
    day = config.partition(loaded.pipeline.input.partition, partition_key(workload.sizes[0]))
    run = plan(loaded, day, dry_run=True).run
    assert run is not None
    path = layout.base / "thirty.yaml"
    path.write_text(yaml.safe_dump(suite()), encoding="utf-8")
    source = Path(run.plan.input_dir) / run.plan.files[0].path
    measures = quality.measures_of(path, pq.read_schema(source))
    variants = {
        "nothing": run.changed(profile_centers={}),
        "profile": run,
        "profile and expectations": run.changed(tables={"input": Table("", measures)}),
    }
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds + 1):
        piece = run.plan.splits[number % len(run.plan.splits)]
        for name, variant in variants.items():
            with tempfile.TemporaryDirectory(dir=layout.base) as folder:
                before = time.process_time()
                split.run_split(Run(Path(folder), variant.state, variant.plan), piece)
                if number:  # the first round loads the model
                    seconds[name].append((time.process_time() - before) / piece.rows * MILLION)
    bare = statistics.median(seconds["nothing"])
    return {
        name: {
            "us_per_row": round(statistics.median(found), 4),
            "spread": [round(min(found), 4), round(max(found), 4)],
            "added": round(
                statistics.median(
                    one / none - 1 for one, none in zip(found, seconds["nothing"], strict=True)
                ),
                4,
            ),
        }
        for name, found in seconds.items()
        if bare
    }


def scanned(layout: Layout, sizes: Sequence[int], rounds: int) -> dict[str, Any]:
    """Seconds that Great Expectations' Spark engine takes for the suite, on two cores."""
    import great_expectations

    from nocturne.quality import gx
    from nocturne.spark.session import session

    workload, taken = WORKLOADS["light"], {size: [] for size in sizes}
    with gx.quiet(), session("scan", "local[2]", {"spark.driver.memory": "4g"}) as spark:
        context = great_expectations.get_context(mode="ephemeral")
        built = gx.build("thirty", Path("thirty"), suite()["expectations"])
        source = context.data_sources.add_spark("spark")
        for number in range(rounds + 1):
            for size in sizes:
                frame = spark.read.parquet(str(layout.partition(workload, size)))
                asset = source.add_dataframe_asset(f"t{number}-{size}")
                whole = asset.add_batch_definition_whole_dataframe("all")
                before = time.perf_counter()
                batch = whole.get_batch(batch_parameters={"dataframe": frame})
                answered = batch.validate(built, result_format="BASIC")
                if number:
                    taken[size].append(time.perf_counter() - before)
                assert answered.success, answered
    added = (sizes[1] - sizes[0]) * workload.file_rows / MILLION
    slopes = [(b - a) / added for a, b in zip(*taken.values(), strict=True)]
    return {
        "s_per_mrow": round(statistics.median(slopes), 4),
        "spread": [round(min(slopes), 4), round(max(slopes), 4)],
        "seconds": {str(size): round(statistics.median(t), 2) for size, t in taken.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.in_pass", description=__doc__)
    parser.add_argument("--spark", action="store_true", help="the second scan instead")
    parser.add_argument("--rounds", type=int, default=9)
    args, layout = parser.parse_args(), Layout()
    if os.environ.get("OMP_NUM_THREADS") != "1":  # as Spark sets it; libraries read it once
        again = [sys.executable, "-m", "benchmarks.in_pass", *sys.argv[1:]]
        os.execve(sys.executable, again, {**os.environ, "OMP_NUM_THREADS": "1"})
    prepare(layout, WORKLOADS["light"], 2)
    found = json.loads(FILE.read_text()) if FILE.exists() else {}
    if args.spark:
        found["scan"] = scanned(layout, WORKLOADS["light"].sizes, max(1, args.rounds // 3))
    else:
        found["pass"] = counted(layout, args.rounds)
    FILE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
