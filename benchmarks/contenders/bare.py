"""The limit: pyarrow reads, torch scores, pyarrow writes; a process a core, a thread each.

Fixed, so that figures compare over time: batches of 65,536 rows, the columns copied into one
matrix, pyarrow's default writer. Whichever process is free takes the next file.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from pathlib import Path
from queue import Empty
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.contenders.arguments import Arguments, parse
from benchmarks.predict import OUTPUT, Predictor, columns, output

SETTINGS: Mapping[str, str] = {"dictionaries": "true", "rows": "65536"}


def score_file(source: str, target: Path, predictor: Predictor, args: Arguments) -> None:
    """One file in, one file out."""
    with pq.ParquetWriter(target, OUTPUT) as writer:
        coded = list(args.table.WORDS) if args.settings["dictionaries"] == "true" else None
        file = pq.ParquetFile(source, read_dictionary=coded)
        for batch in file.iter_batches(args.number("rows"), use_threads=False):
            writer.write_batch(output(batch, predictor(*args.table.encode(columns(batch)))))


def _work(args: Arguments, files: Any) -> None:
    pa.set_cpu_count(1)
    predictor = Predictor(args.model)
    while True:
        try:
            source = files.get_nowait()
        except Empty:
            return
        score_file(source, args.output / Path(source).name, predictor, args)


def main() -> None:
    args = parse(SETTINGS)
    args.output.mkdir(parents=True)
    context = multiprocessing.get_context("fork")  # torch is imported once
    with context.Manager() as manager:
        files = manager.Queue()
        for file in args.files:
            files.put(file)
        workers = [context.Process(target=_work, args=(args, files)) for _ in range(args.processes)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    if any(worker.exitcode for worker in workers):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
