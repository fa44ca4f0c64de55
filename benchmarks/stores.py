"""``python -m benchmarks.stores s3://bucket/folder``: what a store costs beside a local disk.

The environment says who asks and where, as docs/stores.md has it. CPU seconds are those of this
process: reading and writing the same Parquet file, in turns; then a listing of many objects and the
comparison with what is known of them, in a process of its own, with its largest memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nocturne.codec import dump
from nocturne.objects import Location, ObjectPath
from nocturne.records.partition import Partition
from nocturne.records.plan import InputFile
from nocturne.source.fingerprints import fingerprints
from nocturne.source.objects import InputObjects
from nocturne.source.reading import open_parquet, read_batches

ROWS, GROUP, BATCH = 2_000_000, 500_000, 65_536
DAY = Partition("2024-01-01", (("ds", "2024-01-01"),))


def table() -> pa.Table:
    """Twenty columns: ten of floats, five of integers, five of words."""
    random = np.random.default_rng(1)
    words = np.array(["alpha", "beta", "gamma", "delta"])
    columns = {f"f{n}": random.normal(size=ROWS) for n in range(10)}
    columns |= {f"i{n}": random.integers(0, 1 << 40, ROWS) for n in range(5)}
    columns |= {f"s{n}": words[random.integers(0, 4, ROWS)] for n in range(5)}
    return pa.table(columns)


def cpu(work: Callable[[], object]) -> float:
    """The CPU seconds of this process for some work."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def read(path: Location, columns: list[str]) -> None:
    source = open_parquet(path)
    groups = range(source.num_row_groups)
    assert sum(len(b) for b in read_batches(source, path, groups, columns, BATCH)) == ROWS


def compared(rounds: int, local: Callable[[], object], store: Callable[[], object]) -> str:
    """Medians of the seconds, and of the ratios within a round; the first round warms up."""
    pairs = [(cpu(local), cpu(store)) for _ in range(rounds + 1)][1:]
    here, there = (statistics.median(pair[at] for pair in pairs) for at in (0, 1))
    ratio = statistics.median(b / a for a, b in pairs)
    return f"local {here:.3f} s, store {there:.3f} s, ratio {ratio:.2f}"


def measure_reading(folder: ObjectPath, rounds: int) -> None:
    rows = table()
    with tempfile.TemporaryDirectory() as name:
        path, copy = Path(name) / "x.parquet", Path(name) / "y.parquet"

        def write(to: Path) -> None:
            pq.write_table(rows, to, row_group_size=GROUP, compression="zstd")

        def write_and_upload() -> None:
            write(copy)
            (folder / "written.parquet").upload(copy)

        write(path)
        (folder / "read.parquet").upload(path)
        pinned = (folder / "read.parquet").pinned((folder / "read.parquet").stat())
        print(f"{ROWS:,} rows, {path.stat().st_size / 1e6:.0f} MB, {rounds} rounds")
        for columns in (rows.schema.names, ["f0", "s0"]):
            here, there = partial(read, path, columns), partial(read, pinned, columns)
            said = compared(rounds, here, there)
            print(f"read {len(columns)} columns: {said}")
        print(f"write, and upload: {compared(rounds, lambda: write(path), write_and_upload)}")


def measure_listing(folder: ObjectPath, count: int) -> None:
    partition = folder / DAY.path
    there = sum(1 for _ in partition.below())
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(32) as threads:
        small = Path(name) / "small.parquet"
        pq.write_table(pa.table({"a": [1]}), small)
        paths = [partition / f"part-{n:06d}.parquet" for n in range(there, count)]
        list(threads.map(lambda path: path.upload(small), paths))
        known = [
            InputFile(p.name, "", p.stat_.st_size, p.stat_.st_mtime_ns, 0, 1, p.stat_.tag)
            for p in partition.below()
            if p.stat_
        ]
        cache = Path(name) / "fingerprints.json"
        cache.write_text("[" + ",\n".join(map(dump, known)) + "]\n")
        command = [sys.executable, "-m", "benchmarks.stores", str(folder), "--list", str(cache)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    print(
        f"list and compare {said['files']:,} objects: {said['seconds']:.1f} s, "
        f"{said['megabytes']:.0f} MB at most"
    )


def list_once(folder: ObjectPath, cache: Path) -> None:
    began = time.perf_counter()
    files = fingerprints(InputObjects(folder).listing(DAY), cache, content=False)
    status = Path("/proc/self/status").read_text()  # getrusage has the parent's before exec
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    print(
        json.dumps({"files": len(files), "seconds": time.perf_counter() - began, "megabytes": peak})
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stores", description=__doc__)
    parser.add_argument("folder", help="where objects are made, and left")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--list", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    folder = ObjectPath.of(args.folder)
    if args.list:
        list_once(folder, args.list)
        return
    print(f"{os.cpu_count()} cores")
    measure_reading(folder, args.rounds)
    measure_listing(folder, args.objects)


if __name__ == "__main__":
    main()
