"""The worker's corridor: one split, from its row groups to a result file.

Engine, profile, quarantine and staging meet here; Spark, MLflow and Great Expectations
are not imported. Scoring a split twice is harmless: each attempt writes files of its own,
and the result file, created exclusively, says which attempt counts.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Iterator
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nocturne.encoding import Encoding
from nocturne.engine import REASON, Model, ahead, pick_device, score
from nocturne.errors import InputChanged, InputError, ModelError, NocturneError
from nocturne.files import file_digest
from nocturne.profile import TableProfiler
from nocturne.records import InputFile, Pinned, Run, Split, SplitResult, dump, load, read, write
from nocturne.rundir import progress_path, result_path

__all__ = ["BACKENDS", "MODEL_VERSION", "output_schema", "run_split"]

BACKENDS = {"torch": "nocturne.engine:load_torch", "pyfunc": "nocturne.pyfunc:load"}
"""Backend -> ``module:function(path, device)``, imported only where it is used."""

MODEL_VERSION = "model_version"


@lru_cache(maxsize=4)
def _model(backend: str, path: str, device: str, threads: int) -> Model:
    """Loaded once a process, whatever number of splits it scores."""
    import torch

    torch.set_num_threads(threads)
    pa.set_cpu_count(max(1, threads))
    module, _, function = BACKENDS[backend].partition(":")
    try:
        model: Model = getattr(import_module(module), function)(path, pick_device(device))
    except NocturneError:
        raise
    except Exception as error:
        raise ModelError(
            f"the model in {path} can't be loaded: {type(error).__name__}: {error}. Are the "
            "packages of its requirements.txt installed for Spark's workers?"
        ) from error
    return model


def output_schema(run: Run, encoding: Encoding, source: pa.Schema) -> pa.Schema:
    """The published columns: keys, passthrough, predictions, model_version."""
    fields = [source.field(name).remove_metadata() for name in (*run.keys, *run.passthrough)]
    fields += [pa.field(o.name, pa.type_for_alias(o.type)) for o in encoding.outputs]
    return pa.schema([*fields, pa.field(MODEL_VERSION, pa.int32())])


def run_split(run: Run, split: Split) -> SplitResult:
    """Score a split, unless its result is there already.

    Raises:
        InputChanged: the file is not the one that was planned (retryable: plan again).
        InputError: the file can't be decoded.
        ModelError: the model can't be loaded, or fails on every row.
    """
    decided = result_path(run, split)
    if decided.exists():
        return read(SplitResult, decided)
    started = time.time()
    attempt = f"{split.index:05d}-{split.key[:16]}-{os.getpid()}-{os.urandom(4).hex()}.parquet"
    folder = Path(run.run_dir) / "attempts"
    folder.mkdir(parents=True, exist_ok=True)
    target, bad_target = folder / attempt, folder / f"quarantine-{attempt}"

    encoding = load(Encoding, dump(run.encoding), "run.json: encoding")
    planned = next(f for f in run.files if f.path == split.file)
    _check_unchanged(run, planned)
    device = run.pinned.device
    model = _model(run.model.backend, run.model.path, device, run.pinned.threads)
    source = _open(run, planned)
    schema = output_schema(run, encoding, source.schema_arrow)
    wanted = [c for c in dict.fromkeys((*run.keys, *run.passthrough, *encoding.columns))
              if c in source.schema_arrow.names]  # fmt: skip
    profiler = TableProfiler(run.profile_centers)
    reasons: Counter[str] = Counter()
    rows = good_rows = 0
    bad_writer: pq.ParquetWriter | None = None
    last_report = 0.0

    with pq.ParquetWriter(target, schema, use_dictionary=_text_columns(schema)) as writer:
        batches = ahead(_batches(source, split, wanted, run.pinned, planned))
        for batch, predictions in _scored(batches, model, encoding, run.pinned.micro_batch):
            why = _reasons(batch, predictions, run.keys)
            good = pc.is_null(why)
            joined = _join(batch, predictions, schema, run.model.version)
            profiler.update(_with_outputs(batch, predictions, encoding))
            if why.null_count == len(why):
                writer.write_batch(joined)
                good_rows += len(why)
            else:
                kept = joined.filter(good)
                if kept.num_rows:
                    writer.write_batch(kept)
                good_rows += kept.num_rows
                bad = _quarantine(batch, why, split.file, split.first_row + rows)
                bad_writer = bad_writer or pq.ParquetWriter(bad_target, bad.schema)
                bad_writer.write_batch(bad)
                reasons.update(bad.column("reason").to_pylist())
            rows += len(why)
            if time.monotonic() - last_report > 1:
                last_report = time.monotonic()
                _report(run, split, rows)
    if bad_writer is not None:
        bad_writer.close()
    _check_unchanged(run, planned)
    if rows != split.rows:
        raise InputChanged(
            f"{split.file}: planned {split.rows} rows, read {rows}; the file changed meanwhile. "
            "Run the partition again"
        )
    for path in (target, bad_target):
        if path.exists():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
    result = SplitResult(
        key=split.key,
        index=split.index,
        file=attempt,
        rows_in=rows,
        rows_out=good_rows,
        sha256=file_digest(target),
        size=target.stat().st_size,
        quarantined=rows - good_rows,
        quarantine_file=bad_target.name if bad_writer is not None else None,
        reasons=dict(sorted(reasons.items())),
        started=started,
        finished=time.time(),
        profile=profiler.result(),
    )
    write(decided, result, exclusive=True)
    return read(SplitResult, decided)


def _check_unchanged(run: Run, planned: InputFile) -> None:
    path = Path(run.input_dir) / planned.path
    try:
        stat = path.stat()
    except FileNotFoundError:
        raise InputChanged(f"{path} was deleted after planning; run the partition again") from None
    now = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
    if now != (planned.size, planned.mtime_ns, planned.inode):
        raise InputChanged(
            f"{path} changed after planning (size, time or inode): nothing of it was published. "
            "Run the partition again",
            path=str(path),
        )


def _open(run: Run, planned: InputFile) -> pq.ParquetFile:
    path = Path(run.input_dir) / planned.path
    try:
        return pq.ParquetFile(path, pre_buffer=True)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} can't be opened as Parquet: {error}", path=str(path)) from None


def _batches(
    source: pq.ParquetFile, split: Split, columns: list[str], pinned: Pinned, planned: InputFile
) -> Iterator[pa.RecordBatch]:
    try:
        yield from source.iter_batches(
            batch_size=pinned.batch_rows,
            row_groups=list(split.row_groups),
            columns=columns,
            use_threads=False,
        )
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{planned.path}: row groups {split.row_groups[0]} to {split.row_groups[-1]} can't be "
            f"decoded: {error}. Have the file written again",
            path=planned.path,
        ) from None


def _scored(
    batches: Iterator[pa.RecordBatch], model: Model, encoding: Encoding, micro_batch: int
) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
    waiting: deque[pa.RecordBatch] = deque()

    def remembered() -> Iterator[pa.RecordBatch]:
        for batch in batches:
            waiting.append(batch)
            yield batch

    for predictions in score(remembered(), model, encoding, micro_batch=micro_batch):
        yield waiting.popleft(), predictions


def _reasons(batch: pa.RecordBatch, predictions: pa.RecordBatch, keys: tuple[str, ...]) -> pa.Array:
    """Why each row is quarantined; null where it is not. A null key comes first."""
    why = predictions.column(REASON)
    for key in keys:
        column = batch.column(key)
        if column.null_count:
            why = pc.if_else(column.is_null(), f"the key {key} is null", why)
    return why


def _join(
    batch: pa.RecordBatch, predictions: pa.RecordBatch, schema: pa.Schema, version: int
) -> pa.RecordBatch:
    columns = []
    for field in schema:
        if field.name == MODEL_VERSION:
            columns.append(pa.repeat(pa.scalar(version, pa.int32()), batch.num_rows))
        elif predictions.schema.get_field_index(field.name) >= 0:
            columns.append(predictions.column(field.name))
        else:
            columns.append(batch.column(field.name))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _with_outputs(
    batch: pa.RecordBatch, predictions: pa.RecordBatch, encoding: Encoding
) -> pa.RecordBatch:
    """The input beside the predictions, with null for a row that has none."""
    arrays = dict(zip(batch.schema.names, batch.columns, strict=True))
    reason = predictions.column(REASON)
    for output in encoding.outputs:
        values = predictions.column(output.name)
        if reason.null_count < len(reason):
            values = pc.if_else(reason.is_null(), values, pa.scalar(None, values.type))
        arrays[output.name] = values
    return pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))


def _quarantine(batch: pa.RecordBatch, why: pa.Array, file: str, first_row: int) -> pa.RecordBatch:
    """The bad rows with where they came from: file, row number in it (from 0), reason."""
    row = pa.array(range(first_row, first_row + batch.num_rows), pa.int64())
    arrays: list[Any] = [pa.repeat(pa.scalar(file), batch.num_rows), row, why, *batch.columns]
    ours = ["source_file", "source_row", "reason"]
    names = [*ours, *(f"input.{n}" if n in ours else n for n in batch.schema.names)]
    return pa.RecordBatch.from_arrays(arrays, names=names).filter(pc.is_valid(why))


def _text_columns(schema: pa.Schema) -> list[str]:
    return [f.name for f in schema if pa.types.is_string(f.type) or f.name == MODEL_VERSION]


def _report(run: Run, split: Split, rows: int) -> None:
    path = progress_path(run, split)
    path.parent.mkdir(exist_ok=True)
    path.write_text(str(rows), encoding="ascii")
