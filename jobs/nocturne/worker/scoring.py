"""Scores batches into the files of an attempt: where engine, profile, quarantine and staging meet.

Reading, scoring (with encoding), and profiling with writing are three steps. If the task has
several cores (``scoring.threads``), or a GPU computes, each step runs in a thread of its own
behind a queue of two batches. On a single core they take turns, since threads would only take the
core from each other. A worker holds at most ``BATCHES`` batches in memory, and the rows that
staging holds, however large the split is.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.columns.key_hashes import key_hashes
from nocturne.columns.normal import unpacked
from nocturne.encoding import MODEL_VERSION, Encoding
from nocturne.engine import (
    REASON,
    Encode,
    Model,
    load_torch,
    load_trusted,
    pick_device,
    prefetch,
    score,
    score_cast,
)
from nocturne.errors import NocturneError, StoreUnavailable
from nocturne.fitting import casts, output_schema
from nocturne.model.copies import fetch_model
from nocturne.model.requirements import import_errors, load_error
from nocturne.profile import Measurer, Rows, TableProfiler
from nocturne.records.comparison import Comparison
from nocturne.records.plan import Split
from nocturne.records.result import SplitResult
from nocturne.store.failpoints import reach
from nocturne.store.files import file_digest, write_atomic
from nocturne.store.run import Run
from nocturne.worker.lanes import Given
from nocturne.worker.slots import DeviceSlot
from nocturne.worker.staging import LOCATION, Staging, quarantined_name

__all__ = ["BACKENDS", "BATCHES", "Beside", "load_model", "predicted", "score_batches"]

T = TypeVar("T")

BATCHES = 8
"""Batches of ``batch_rows`` that a worker holds: two queues of two, and one or two a step."""


def _load_pyfunc(*args: Any, **settings: Any) -> Model:
    from nocturne.pyfunc.load import load  # with MLflow and pandas

    return load(*args, **settings)


BACKENDS: dict[str, Callable[..., Model]] = {
    "torch": load_torch,
    "torch_pickled": load_trusted,  # a pt2 file with code, which the pipeline allows
    "pyfunc": _load_pyfunc,
}
"""Backend -> ``load(path, encoding, device=, kernel=, precision=)``."""


def limit_threads(threads: int) -> None:
    """Have torch compute with this number of threads where this thread calls it.

    OpenMP keeps the number for each calling thread, and torch's packed layers ask OpenMP alone. So
    each thread that scores says it, or takes what the environment says.
    """
    import torch

    torch.set_num_threads(threads)


def _limited(scored: Iterator[T], threads: int) -> Iterator[T]:
    """The same, made by a thread that ``limit_threads`` has limited."""
    limit_threads(threads)
    yield from scored


@lru_cache(maxsize=16)
def _model(
    name: str, path: str, spec: str, device: str, kernel: str, precision: str, threads: int
) -> Model:
    """Loads the model once in each process, however many splits it scores."""
    pa.set_cpu_count(threads)
    encoding = Encoding.from_json(spec)
    try:
        return BACKENDS[name](
            path, encoding, device=pick_device(device), kernel=kernel, precision=precision
        )
    except NocturneError:
        raise
    except Exception as error:
        raise load_error(path, error) from error


def load_model(run: Run, slot: DeviceSlot, precision: str | None = None) -> Model:
    """The run's pinned model, or the same in another ``precision`` to compare it with.

    Raises:
        ModelError: the model can't be loaded, or its device is not available.
    """
    fetch_model(run)
    pinned = run.plan.pinned
    device = slot.device or pinned.device
    if device.startswith("cuda") and slot.memory < 1:
        _limit_memory(device, slot.memory)
    limit_threads(pinned.threads)
    spec = run.plan.encoding.to_json()
    kernel = pinned.kernel if precision is None else "graph"
    model_precision = precision or pinned.precision
    return _model(
        run.plan.model.backend,
        run.plan.model.path,
        spec,
        device,
        kernel,
        model_precision,
        pinned.threads,
    )


@lru_cache(maxsize=8)
def _limit_memory(device: str, share: float) -> None:
    import torch

    torch.cuda.set_per_process_memory_fraction(share, device)


class Beside(Protocol):
    """The champion's side of a challenger's split."""

    def reasons(self, batch: pa.RecordBatch) -> pa.Array:
        """Why the champion has quarantined each row of the next batch; null if it has not."""

    def scored(self, batch: pa.RecordBatch, outputs: Mapping[str, pa.Array]) -> None:
        """That batch has these predictions."""

    def comparison(self) -> Comparison | None:
        """The scores of both, if they were made in one pass."""


Give = Callable[[Given, float], Mapping[str, pa.Array]]
"""Hands a batch to the other models once it is scored, with the seconds that this took; returns the
predictions to publish, with the column ``model_version`` if it is not the champion's everywhere."""


def score_batches(
    run: Run,
    split: Split,
    batches: Iterator[pa.RecordBatch],
    schema: pa.Schema,
    slot: DeviceSlot,
    *,
    give: Give | None = None,
    beside: Beside | None = None,
    encode: Encode | None = None,
) -> SplitResult:
    """Score ``batches`` into the files of an attempt. The result counts once it is written.

    Args:
        batches: batches with normal types (``nocturne.columns.normal``).
        schema: the schema of the source, with the columns that are not read.
        give: hands each batch to the other models once it is scored.
        beside: of a challenger, its champion: what that quarantines is quarantined, and where the
            challenger alone has no score, there is a null.
        encode: makes the model's tensors. Default: by the encoding.
    """
    with run.writing() as folder:
        return _score_batches(run, split, batches, schema, slot, folder, give, beside, encode)


def _score_batches(
    run: Run,
    split: Split,
    batches: Iterator[pa.RecordBatch],
    schema: pa.Schema,
    slot: DeviceSlot,
    folder: Path,
    give: Give | None,
    beside: Beside | None,
    encode: Encode | None,
) -> SplitResult:
    started = time.time()
    attempt = f"{split.index:05d}-{split.key[:16]}-{os.getpid()}-{os.urandom(4).hex()}.parquet"
    encoding = run.plan.encoding
    model = load_model(run, slot)
    named = (*run.plan.keys, *run.plan.passthrough)
    of_partition = _of_partition(run)
    published = pa.schema(
        [
            *output_schema(encoding, schema, named, run.plan.lake_types),
            *(pa.field(name, value.type) for name, value in of_partition.items()),
        ]
    )
    version = pa.scalar(run.plan.model.version, pa.int32())
    constants = of_partition if run.plan.arms else {MODEL_VERSION: version, **of_partition}
    profiler = TableProfiler(run.plan.profile_centers, run.plan.segments)
    read_measurer, scored_measurer = (Measurer(run.plan.measures(t)) for t in ("input", "output"))
    hashes: list[Any] = []
    precision: dict[str, float] = {}
    unscored: Counter[str] = Counter()
    own = [n for n in run.plan.reads(encoding.columns) if n in schema.names] if beside else []
    last_report = 0.0
    reach("split.begun")

    steps = run.plan.pinned.threads > 1 or run.plan.pinned.device != "cpu"
    read_ahead = prefetch(batches) if steps else batches
    model_casts = casts(encoding, schema, run.plan.cast)
    # A pyfunc model decides on its own precision, and its calls may cost.
    reduced = run.plan.pinned.precision != "float32" and run.plan.model.backend != "pyfunc"
    inexact = reduced and split.index == 0
    scored = score_cast(
        read_ahead,
        model,
        encoding,
        model_casts,
        micro_batch=run.plan.pinned.micro_batch,
        once=run.plan.costly,
        encode=encode,
    )
    turn = time.perf_counter()
    with (
        import_errors(run.plan.model.path),
        Staging(
            folder / attempt,
            folder / f"quarantine-{attempt}",
            published,
            schema,
            [MODEL_VERSION, *of_partition],
        ) as staging,
        closing(
            prefetch(_limited(scored, run.plan.pinned.threads)) if steps else scored
        ) as triples,
    ):
        for batch, cast_batch, predictions in triples:
            if inexact and not precision:
                precision = _precision_error(run, slot, encoding, cast_batch, predictions)
            outputs: Mapping[str, pa.Array] = predicted(predictions, encoding)
            if beside is None:
                reasons = _reasons(batch, predictions, run.plan.keys)
            else:
                batch = batch.select(own)
                reasons = beside.reasons(batch)
                unscored.update(_unscored(reasons, predictions, outputs))
                beside.scored(batch, outputs)
            if give is not None:
                outputs = give(Given(batch, reasons, outputs), time.perf_counter() - turn)
                turn = time.perf_counter()
            rows = Rows(batch)
            with_outputs = rows.with_columns(outputs)
            predictions_only = {n: v for n, v in outputs.items() if n != MODEL_VERSION}
            is_same = cast_batch is batch and len(predictions_only) == len(outputs)
            profiler.update(
                with_outputs if is_same else Rows(cast_batch).with_columns(predictions_only)
            )
            read_measurer.update(rows)
            scores = _published(with_outputs.batch, published, constants)
            bad = None
            if reasons.null_count < len(reasons):
                scores = scores.filter(reasons.is_null())
                visible = _without(batch, run.plan.sensitive)
                bad = _with_location(visible, reasons, split, staging.rows).filter(
                    reasons.is_valid()
                )
            scored_measurer.update(scores)
            if run.plan.unique_keys:
                hashes.append(key_hashes([scores.column(key) for key in run.plan.keys]))
            staging.add(scores, bad)
            reach("split.batch")
            if beside is None and time.monotonic() - last_report > run.report_s:
                last_report = time.monotonic()
                _report(run, split, staging.rows)
    if hashes:
        np.save(folder / run.keys_file(staging.target).name, np.concatenate(hashes))
    return SplitResult(
        key=split.key,
        index=split.index,
        file=attempt,
        rows_in=staging.rows,
        rows_out=staging.good_rows,
        sha256=file_digest(staging.target),
        size=staging.target.stat().st_size,
        quarantined=staging.rows - staging.good_rows,
        quarantine_file=staging.quarantine.name if staging.reasons else None,
        reasons=dict(sorted(staging.reasons.items())),
        started=started,
        finished=time.time(),
        profile=profiler.result(),
        micro_batch=getattr(model, "limit", None) or run.plan.pinned.micro_batch,
        precision_error=precision,
        measured={"input": read_measurer.result(), "output": scored_measurer.result()},
        unscored=dict(sorted(unscored.items())),
        comparison=beside.comparison() if beside else None,
    )


def _precision_error(
    run: Run,
    slot: DeviceSlot,
    encoding: Encoding,
    batch: pa.RecordBatch,
    predictions: pa.RecordBatch,
) -> dict[str, float]:
    """The largest difference that the precision makes to a batch's predictions, by output.

    Absolute, in the prediction's own unit, against the same model in float32.
    """
    exact = load_model(run, slot, precision="float32")
    [expected] = score([batch], exact, encoding, micro_batch=run.plan.pinned.micro_batch)
    errors = {}
    for output in encoding.outputs:
        if output.type in ("float32", "float64"):
            exact_values, values = (
                pc.list_flatten(b.column(output.name)) if output.length else b.column(output.name)
                for b in (expected, predictions)
            )
            difference = pc.max(pc.abs(pc.subtract(exact_values, values))).as_py()
            errors[output.name] = float(difference) if difference is not None else 0.0
    return errors


def _reasons(batch: pa.RecordBatch, predictions: pa.RecordBatch, keys: tuple[str, ...]) -> pa.Array:
    """Why each row is quarantined; null if it is not. A null key precedes other reasons."""
    why = predictions.column(REASON)
    for key in keys:
        column = batch.column(key)
        if column.null_count:
            why = pc.if_else(column.is_null(), f"the key {key} is null", why)
    return why


def _unscored(
    quarantined: pa.Array, predictions: pa.RecordBatch, outputs: Mapping[str, pa.Array]
) -> list[str]:
    """For each row that is published without a first prediction, why it has none."""
    there = pc.and_(quarantined.is_null(), next(iter(outputs.values())).is_null())
    if not pc.any(there).as_py():
        return []
    why = predictions.column(REASON).filter(there)
    return list(why.fill_null("the model returned nothing").to_pylist())


def _of_partition(run: Run) -> dict[str, pa.Scalar]:
    """The published columns that are the partition's: name -> value, the same in each row."""
    texts = dict(run.plan.partition.keys)
    fields = unpacked(run.plan.partition_columns)
    return {field.name: pa.scalar(texts[field.name]).cast(field.type) for field in fields}


def _published(
    batch: pa.RecordBatch, schema: pa.Schema, constants: Mapping[str, pa.Scalar]
) -> pa.RecordBatch:
    columns = [
        pa.repeat(constants[field.name], batch.num_rows)
        if field.name in constants
        else batch.column(field.name)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, names=schema.names)


def predicted(predictions: pa.RecordBatch, encoding: Encoding) -> dict[str, pa.Array]:
    """The predictions by name; null for a row without a prediction."""
    arrays, reason = {}, predictions.column(REASON)
    for output in encoding.outputs:
        values = predictions.column(output.name)
        if reason.null_count < len(reason):
            values = pc.if_else(reason.is_null(), values, pa.scalar(None, values.type))
        arrays[output.name] = values
    return arrays


def _without(batch: pa.RecordBatch, hidden: frozenset[str]) -> pa.RecordBatch:
    """The batch without its sensitive columns.

    Sensitive keys are left out too, and not hashed: a hash could be reversed by trying all keys.
    """
    return batch.drop_columns([name for name in batch.schema.names if name in hidden])


def _with_location(
    batch: pa.RecordBatch, reasons: pa.Array, split: Split, before: int
) -> pa.RecordBatch:
    """The rows with their source file, their row number in it (from 0), and the reason.

    Rows that Spark has read have no file and no number; their keys identify them, unless the keys
    are sensitive.
    """
    count, first = len(reasons), split.first_row + before
    has_file = bool(split.file)
    file = pa.repeat(pa.scalar(split.file if has_file else None, pa.string()), count)
    row = pa.array(np.arange(first, first + count)) if has_file else pa.nulls(count, pa.int64())
    arrays: list[Any] = [file, row, reasons, *batch.columns]
    names = [*LOCATION, *map(quarantined_name, batch.schema.names)]
    return pa.RecordBatch.from_arrays(arrays, names=names)


def _report(run: Run, split: Split, rows: int) -> None:
    with suppress(StoreUnavailable):  # scoring does not need it
        write_atomic(run.progress_file(split), str(rows).encode())
