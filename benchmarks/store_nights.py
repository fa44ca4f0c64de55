"""``python -m benchmarks.store_nights s3://bucket/folder``: a night in a store beside a local one.

Needs what ``python -m benchmarks --workload light`` has prepared. The same nights are scored into
Delta, with input, state and table on the local disk or in the store, in turns; what is compared are
the processor seconds of all our processes (the store's own are not among them).
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
from pathlib import Path

import yaml

from benchmarks.layout import Layout, partition_key
from benchmarks.timing import timed
from nocturne.objects import ObjectPath
from nocturne.objects.together import TRANSFERS, together

SIZES = (8, 24)
"""Files of a million rows each: a night's cost is the slope between two sizes."""
LOCAL, STORE = "bench_light_delta", "bench_light_store"


def prepare(layout: Layout, folder: ObjectPath) -> None:
    """Upload the input, and write the pipeline of the store."""
    conf = layout.project / "conf" / "pipelines"
    if not (conf / f"{LOCAL}.yaml").is_file():
        raise SystemExit("run `python -m benchmarks --workload light --pairs 1` first")
    pipeline = yaml.safe_load((conf / f"{LOCAL}.yaml").read_text(encoding="utf-8"))
    for files in SIZES:
        source = Path(pipeline["input"]["path"]) / f"ds={partition_key(files)}"
        paths = sorted(source.glob("*.parquet"))
        targets = [folder / "in" / source.name / path.name for path in paths]
        together(ObjectPath.upload, targets, paths, at_once=TRANSFERS)
    pipeline |= {"name": STORE, "input": pipeline["input"] | {"path": str(folder / "in")}}
    pipeline["output"] = pipeline["output"] | {"path": str(folder / "out")}
    (conf / f"{STORE}.yaml").write_text(yaml.safe_dump(pipeline), encoding="utf-8")


def clear(layout: Layout, folder: ObjectPath) -> None:
    """Forget what was published, so that the next run scores."""
    for place in (folder / "out", folder / "_nocturne"):
        place.remove_tree()
    shutil.rmtree(layout.output("light", "nocturne_delta").parent, ignore_errors=True)


def night(layout: Layout, pipeline: str, files: int) -> tuple[float, float]:
    """Wall and processor seconds of a night."""
    environment = os.environ | {"NOCTURNE_HOME": str(layout.project)}
    command = [str(Path(sys.executable).with_name("nocturne")), "score", pipeline]
    log = layout.base / "logs" / f"{pipeline}-{files}.log"
    done = timed(
        [*command, "--date", partition_key(files)],
        environment,
        log=log,
        worker="daemon",
        processes=2,
        cwd=layout.project,
    )
    if done.returncode:
        raise SystemExit(f"{pipeline} failed: see {log}")
    return done.seconds, done.cpu_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--pairs", type=int, default=5)
    args = parser.parse_args()
    layout, folder = Layout(), ObjectPath.of(args.folder)
    prepare(layout, folder)
    slopes: dict[str, list[tuple[float, float]]] = {LOCAL: [], STORE: []}
    for pair in range(args.pairs + 1):  # the first warms up
        for pipeline in (LOCAL, STORE) if pair % 2 else (STORE, LOCAL):
            clear(layout, folder)
            small, large = (night(layout, pipeline, files) for files in SIZES)
            slope = [
                (b - a) / (SIZES[1] - SIZES[0]) / 1.048576
                for a, b in zip(small, large, strict=True)
            ]
            slopes[pipeline].append((slope[0], slope[1]))
            print(pipeline, small, large, flush=True)
    for at, what in enumerate(("wall", "processor")):
        local, store = ([s[at] for s in slopes[name][1:]] for name in (LOCAL, STORE))
        ratio = statistics.median(b / a for a, b in zip(local, store, strict=True))
        print(
            f"{what} seconds per million rows: local {statistics.median(local):.3f}, "
            f"store {statistics.median(store):.3f}, ratio {ratio:.2f}"
        )


if __name__ == "__main__":
    main()
