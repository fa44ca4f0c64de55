"""The worker: scores one split, from its row groups to a result file.

Engine, profile, quarantine and staging meet here; Spark, MLflow and Great Expectations are not
imported. Scoring a split twice is harmless: each attempt writes files of its own, and the result
file, which is created exclusively, says which attempt counts.

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nocturne.columns.key_hashes import key_hashes
from nocturne.columns.normal import unpacked, with_types
from nocturne.encoding import MODEL_VERSION, Encoding
from nocturne.engine import (
    REASON,
    Encode,
    EncodedOnce,
    Model,
    encoder,
    load_torch,
    load_trusted,
    pick_device,
    prefetch,
    score,
    score_cast,
)
from nocturne.errors import InputChanged, NocturneError, StoreUnavailable
from nocturne.fitting import casts, output_schema
from nocturne.model.copies import fetch_model
from nocturne.model.requirements import import_errors, load_error
from nocturne.objects import Location
from nocturne.objects.reading import native
from nocturne.profile import Measurer, Rows, TableProfiler
from nocturne.records.challengers import Opponent
from nocturne.records.plan import RunPlan, Split
from nocturne.records.result import SplitResult
from nocturne.source.path_columns import of_plan
from nocturne.source.reading import check_unchanged, file_schema, open_parquet, read_batches
from nocturne.store.failpoints import reach
from nocturne.store.files import file_digest, write_atomic
from nocturne.store.record_files import find, read, write
from nocturne.store.run import Run
from nocturne.worker.lanes import Lane
from nocturne.worker.slots import OF_RUN, DeviceSlot
from nocturne.worker.staging import LOCATION, Staging, quarantined_name

__all__ = [
    "BACKENDS",
    "BATCHES",
    "DeviceSlot",
    "load_model",
    "quarantined_rows",
    "run_split",
    "score_batches",
]

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


@lru_cache(maxsize=16)
def _model(
    name: str, path: str, spec: str, device: str, kernel: str, precision: str, threads: int
) -> Model:
    """Loads the model once in each process, however many splits it scores."""
    import torch

    torch.set_num_threads(threads)
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


def run_split(
    run: Run,
    split: Split,
    slot: DeviceSlot = OF_RUN,
    *,
    challengers: Sequence[tuple[Opponent, Run]] = (),
    quarantined: Mapping[int, str] | None = None,
) -> SplitResult:
    """Score a split, unless it has a result already.

    Args:
        challengers: those that score it in the same pass (``nocturne.worker.lanes``).
        quarantined: of a challenger that is scored alone, the rows (by their number in the file)
            that the champion quarantined, with the reasons.

    Raises:
        InputChanged: the file has changed since it was planned (retryable: plan again).
        InputError: the file can't be decoded.
        ModelError: the model can't be loaded, or fails on every row.
        DeviceLost: the GPU failed (retryable, in a new process).
    """
    decided = run.result_file(split)
    if (earlier := find(SplitResult, decided)) is not None:
        return earlier
    planned = next(f for f in run.plan.files if f.path == split.file)
    path, in_lake = run.plan.input_file(planned.path), bool(run.plan.input_version)
    check_unchanged(path, planned, in_lake=in_lake)
    encoding, types = run.plan.encoding, unpacked(run.plan.types)
    source = open_parquet(path, checksums=run.plan.checksums, words=encoding.large_vocabularies)
    path_columns = of_plan(run.plan, [split.file])
    schema = with_types(file_schema(source, path_columns), types)
    columns = [name for name in run.plan.reads(encoding.columns) if name in schema.names]
    batches = read_batches(
        source, path, split.row_groups, columns, run.plan.pinned.batch_rows, types, path_columns
    )
    reasons_of = None if quarantined is None else _numbered(split, quarantined)
    with _lanes(run, split, schema, slot, challengers) as lanes:
        with run.writing() as folder:
            result = _score_batches(
                run, split, batches, schema, slot, folder, lanes=lanes, reasons_of=reasons_of
            )
        check_unchanged(path, planned, in_lake=in_lake)
        if result.rows_in != split.rows:
            raise InputChanged(
                f"{split.file}: planned {split.rows} rows, read {result.rows_in}; the file changed "
                "meanwhile. Run the partition again"
            )
        for lane in lanes.running:  # so that where the champion is done, they are too
            lane.finish(result)
    reach("split.staged")
    first = write(decided, result, exclusive=True)
    reach("split.decided")
    return result if first else read(SplitResult, decided)


@dataclass(frozen=True)
class _Lanes:
    """The lanes beside a champion's split; ``encode`` makes the tensors that they share."""

    running: Sequence[Lane] = ()
    encode: EncodedOnce | None = None

    def give(self, batch: pa.RecordBatch, reasons: pa.Array, champion_s: float) -> None:
        for lane in self.running:
            lane.give(batch, reasons, champion_s)


@contextmanager
def _lanes(
    champion: Run,
    split: Split,
    schema: pa.Schema,
    slot: DeviceSlot,
    challengers: Sequence[tuple[Opponent, Run]],
) -> Iterator[_Lanes]:
    """The lanes of the challengers that have not scored the split and are not dropped."""
    encode = EncodedOnce(champion.plan.encoding) if challengers else None
    running = list[Lane]()
    try:
        for opponent, run in challengers:
            with suppress(NocturneError, OSError):
                own = run.plan.splits[split.index]
                if run.result_file(own).is_file() or run.dropped() is not None:
                    continue
                work = partial(_beside, run, own, schema, slot, champion.plan, encode)
                running.append(Lane(opponent, run, own, work))
        yield _Lanes(running, encode)
    finally:
        for lane in running:
            lane.close()


def _beside(
    run: Run,
    split: Split,
    schema: pa.Schema,
    slot: DeviceSlot,
    champion: RunPlan,
    shared: EncodedOnce | None,
    batches: Iterator[pa.RecordBatch],
    reasons_of: Callable[[], pa.Array],
) -> SplitResult:
    """Score the batches of a lane."""
    encoding, own = run.plan.encoding, encoder(run.plan.encoding)
    same = shared is not None and encoding.inputs == champion.encoding.inputs

    def encode(batch: pa.RecordBatch) -> list[Any]:
        made = shared.kept(batch) if same and shared is not None else None
        return made if made is not None else own(batch)

    counted = {
        name: center
        for name, center in run.plan.profile_centers.items()
        if name in encoding.output_names or champion.profile_centers.get(name, _NO) != center
    }
    with run.writing() as folder:
        return _score_batches(
            run.changed(profile_centers=counted),
            split,
            batches,
            schema,
            slot,
            folder,
            reasons_of=lambda _: reasons_of(),
            encode=encode,
        )


_NO = object()


def quarantined_rows(file: Location) -> dict[int, str]:
    """The numbers of the rows in a file of quarantined rows, with the reasons; none without it."""
    if not file.is_file():
        return {}
    rows = pq.read_table(native(file), columns=["source_row", "reason"])
    return dict(zip(*(column.to_pylist() for column in rows.columns), strict=True))


def _numbered(split: Split, quarantined: Mapping[int, str]) -> Callable[[pa.RecordBatch], pa.Array]:
    """The reasons of one batch after another, by the rows' numbers in the file."""
    first = split.first_row

    def reasons(batch: pa.RecordBatch) -> pa.Array:
        nonlocal first
        numbers = range(first, first + batch.num_rows)
        first += batch.num_rows
        return pa.array([quarantined.get(number) for number in numbers], pa.string())

    return reasons


def score_batches(
    run: Run,
    split: Split,
    batches: Iterator[pa.RecordBatch],
    schema: pa.Schema,
    slot: DeviceSlot,
) -> SplitResult:
    """Score ``batches`` into the files of an attempt. The result counts once it is written.

    Args:
        batches: batches with normal types (``nocturne.columns.normal``).
        schema: the schema of the source, with the columns that are not read.
    """
    with run.writing() as folder:
        return _score_batches(run, split, batches, schema, slot, folder)


def _score_batches(
    run: Run,
    split: Split,
    batches: Iterator[pa.RecordBatch],
    schema: pa.Schema,
    slot: DeviceSlot,
    folder: Path,
    *,
    lanes: _Lanes = _Lanes(),
    reasons_of: Callable[[pa.RecordBatch], pa.Array] | None = None,
    encode: Encode | None = None,
) -> SplitResult:
    """Args:
    lanes: they are given each batch once it is scored.
    reasons_of: of a challenger, why each row of the next batch is quarantined: for the
        champion's reasons. Where the challenger itself has no score, there is a null.
    encode: makes the model's tensors. Default: by the encoding.
    """
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
    constants = {MODEL_VERSION: pa.scalar(run.plan.model.version, pa.int32()), **of_partition}
    profiler = TableProfiler(run.plan.profile_centers, run.plan.segments)
    read_measurer, scored_measurer = (Measurer(run.plan.measures(t)) for t in ("input", "output"))
    hashes: list[Any] = []
    precision: dict[str, float] = {}
    unscored: Counter[str] = Counter()
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
        encode=encode or lanes.encode,
    )
    turn = time.perf_counter()
    with (
        import_errors(run.plan.model.path),
        Staging(
            folder / attempt, folder / f"quarantine-{attempt}", published, schema, constants
        ) as staging,
        closing(prefetch(scored) if steps else scored) as triples,
    ):
        for batch, cast_batch, predictions in triples:
            if inexact and not precision:
                precision = _precision_error(run, slot, encoding, cast_batch, predictions)
            reasons = (
                reasons_of(batch) if reasons_of else _reasons(batch, predictions, run.plan.keys)
            )
            outputs = _outputs(predictions, encoding)
            if reasons_of is not None:
                unscored.update(_unscored(reasons, predictions, outputs))
            rows = Rows(batch)
            with_outputs = rows.with_columns(outputs)
            profiler.update(
                with_outputs if cast_batch is batch else Rows(cast_batch).with_columns(outputs)
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
            if lanes.running:
                lanes.give(batch, reasons, time.perf_counter() - turn)
                turn = time.perf_counter()
            if reasons_of is None and time.monotonic() - last_report > run.report_s:
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


def _outputs(predictions: pa.RecordBatch, encoding: Encoding) -> dict[str, pa.Array]:
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
