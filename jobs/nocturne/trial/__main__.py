"""The process in which a model is called for the first time: a crash ends only this process.

    python -m nocturne.trial FOLDER PARENT

FOLDER contains ``request.json`` and ``rows.arrow``; the answer is written to ``answer.json`` in it.
PARENT is the process that starts this one, which ends when PARENT ends.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.encoding import Encoding
from nocturne.engine import (
    REASON,
    NamedOutputs,
    cast_rows,
    check_outputs,
    concatenated,
    encode,
    outputs_by_name,
    predictions,
    require_rows_alone,
    settle_outputs,
)
from nocturne.engine.model import Model, Raw
from nocturne.engine.refused import refusal_reasons
from nocturne.errors import ModelError, NocturneError
from nocturne.fitting import casts
from nocturne.hiding import cause_of, failed_import, redacted
from nocturne.model.requirements import describe_import_error
from nocturne.store.record_files import read, write
from nocturne.trial import ANSWER, READY, REQUEST, ROWS, UNWRITTEN, Trial, TrialAnswer, TrialRequest
from nocturne.worker.scoring import BACKENDS

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
"""Options of Linux's ``prctl``."""
_ENDING = 2.0
"""Seconds that killed child processes of the model get to end."""
_SLOW = 0.1
"""A row that takes longer than this many seconds is slow."""
_CALLS = 4
"""The calls of ``require_rows_alone``, which so gets a fourth of the rows: as much as one call."""
_SHOWN, _LONG = 3, 80
"""The number of rows whose scores are shown, and the most characters of a score."""


def main(folder: Path, parent: int | None = None) -> None:
    """Answer, then end the process, even if threads of the model still run."""
    _tie(os.getppid() if parent is None else parent)
    try:
        request = read(TrialRequest, folder / REQUEST)
        _bound()
        with pa.ipc.open_file(folder / ROWS) as file:
            rows = file.read_all().combine_chunks().to_batches()[0]
        import torch

        torch.set_num_threads(1)
        (folder / READY).touch()
        signal.alarm(int(request.seconds) + 30)  # in case the parent is stopped
        write(folder / ANSWER, _answer(request, rows), durable=False)
    except OSError as error:
        with suppress(OSError):
            (folder / READY).rename(folder / UNWRITTEN)
        with suppress(OSError):
            traceback.print_exc()
        os._exit(error.errno or 1)
    _end_children()
    os._exit(0)


def _tie(parent: int) -> None:
    """End when the parent ends, and become the parent of all processes that the model starts, so
    that they can be found even if they have a session of their own.
    """
    with suppress(OSError, AttributeError):  # only Linux has these
        system = ctypes.CDLL(None)
        system.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        system.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    if os.getppid() != parent and not psutil.pid_exists(parent):
        os._exit(1)


def _end_children() -> None:
    """Kill the processes that the model started, until none is left."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a handler of the model may raise
    me = psutil.Process()
    until = time.monotonic() + _ENDING
    with suppress(psutil.Error):
        while (running := _running(me)) and time.monotonic() < until:
            for process in running:
                with suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(running, _ENDING)


def _running(me: psutil.Process) -> list[psutil.Process]:
    running = []
    for process in me.children(recursive=True):
        with suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE:
                running.append(process)
    return running


def _bound() -> None:
    """Write no core dump, and be the first process that Linux kills if memory runs out."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _answer(request: TrialRequest, rows: pa.RecordBatch) -> TrialAnswer:
    """Try the model; if this machine has no GPU for it, on the CPU."""
    import torch

    elsewhere = request.device != "cpu" and not torch.cuda.is_available()
    device = "cpu" if elsewhere else request.device
    try:
        return _try(request, rows, device, time.monotonic() + 0.8 * request.seconds)
    except NocturneError as error:
        return TrialAnswer(fault=str(error), error=type(error).__name__, elsewhere=elsewhere)
    except Exception as error:
        if (failed := failed_import(error)) is not None:
            return TrialAnswer(missing=describe_import_error(request.model.path, failed))
        return _failed(f"it can't be loaded: {redacted(error)}", error, elsewhere=elsewhere)


def _failed(fault: str, error: Exception, *, elsewhere: bool) -> TrialAnswer:
    """The answer for a fault. The model is at fault, unless the disk is full."""
    cause = cause_of(error)
    if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
        fault += ". Free some space, then run the same command again"
        return TrialAnswer(fault=fault, error="RetryableError", elsewhere=elsewhere)
    return TrialAnswer(fault=fault, elsewhere=elsewhere)


def _try(request: TrialRequest, rows: pa.RecordBatch, device: str, until: float) -> TrialAnswer:
    encoding = request.encoding
    cast_batch, lost = cast_rows(rows, casts(encoding, rows.schema, request.input_cast))
    if (why := refusal_reasons(cast_batch, encoding)) is not None:
        lost = pc.coalesce(lost, why)
    cast_batch = cast_batch.filter(lost.is_null())
    if not cast_batch.num_rows:  # scoring will report what is wrong with the data
        return TrialAnswer(Trial(encoding.complete().outputs, 0))
    load = BACKENDS[request.model.backend]
    model = load(request.model.path, encoding, device=device, kernel="graph", precision="float32")
    raw, raised = _call_model(model, encoding, cast_batch, until)
    first = next((error for error in raised if error is not None), None)
    if raw is None:
        assert first is not None
        if (missing := failed_import(first)) is not None:
            raise missing
        why = redacted(first, _values(cast_batch))
        fault = f"it raises on each of the {len(raised)} rows that it was tried on: {why}"
        return _failed(fault, first, elsewhere=device != request.device)
    outputs = (
        encoding.outputs
        if request.spec
        else settle_outputs(encoding.outputs, raw, firm=request.firm)
    )
    if any(output.name == REASON for output in outputs):
        raise ModelError(
            f"the model predicts {REASON}, which is the name of a column that Nocturne makes. "
            "Declare in model.outputs the outputs to publish, or rename this output in the model"
        )
    reasons = {row: "" for row, error in enumerate(raised) if error is not None}
    failed = len(reasons)
    scored = predictions(raw, len(raised), replace(encoding, outputs=outputs), reasons)
    if request.spec:
        check_outputs(outputs, raw)
    answered = [row for row, error in enumerate(raised) if error is None]
    few = cast_batch.take(pa.array(answered[::_CALLS]))
    require_rows_alone(model, encode(few, encoding))
    cause = redacted(first, _values(cast_batch)) if first else ""
    return TrialAnswer(Trial(outputs, len(raised), failed, cause, _shown(scored)))


def _call_model(
    model: Model, encoding: Encoding, rows: pa.RecordBatch, until: float
) -> tuple[Raw | None, list[Exception | None]]:
    """The model's outputs (None if it always raised), and for each row the exception.

    The first call has one row, to measure the time of a row (it is repeated with another row if
    it was slow, since that may have been the start). The next call has as many rows as half of the
    remaining time allows. If it raises, the rows are tried one by one. Some models take seconds
    for a row.
    """
    raised: list[Exception | None] = []
    pieces: list[NamedOutputs | None] = []
    in_order = True

    def call(start: int, count: int) -> Exception | None:
        nonlocal in_order
        try:
            raw = model.predict(encode(rows.slice(start, count), encoding))
        except NocturneError:
            raise
        except Exception as error:
            if count == 1:
                pieces.append(None)
                raised.append(error)
            return error
        in_order = not isinstance(raw, Mapping)
        pieces.append(
            {name: np.atleast_1d(values) for name, values in outputs_by_name(raw).items()}
        )
        raised.extend([None] * count)
        return None

    once, first = float("inf"), 0
    while first < min(rows.num_rows, 2) and once > _SLOW:
        began = time.monotonic()
        call(first, 1)
        once, first = time.monotonic() - began, first + 1
    remaining = min(rows.num_rows - first, int((until - time.monotonic()) / 2 / max(once, 1e-6)))
    if remaining > 0 and call(first, remaining) is not None and remaining > 1:
        for row in range(first, first + remaining):
            if time.monotonic() > until:
                break
            call(row, 1)
    by_name = concatenated(pieces)
    return (list(by_name.values()) if by_name is not None and in_order else by_name), raised


def _values(rows: pa.RecordBatch) -> dict[str, list[object]]:
    """Column -> its values; a column whose values Python can't represent is left out."""
    values: dict[str, list[object]] = {}
    for name, column in zip(rows.schema.names, rows.columns, strict=True):
        with suppress(ValueError, OverflowError):
            values[name] = column.to_pylist()
    return values


def _shown(scored: pa.RecordBatch) -> tuple[dict[str, str], ...]:
    """The predictions of three rows that have predictions, as text."""
    good = scored.filter(scored.column(REASON).is_null()).slice(0, _SHOWN).drop_columns([REASON])
    return tuple(
        {name: _short_text(value) for name, value in row.items()} for row in good.to_pylist()
    )


def _short_text(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONG else text[: _LONG - 3] + "..."


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
