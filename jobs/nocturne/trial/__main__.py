"""The process in which a model is called for the first time; whatever it does, it does it to this.

    python -m nocturne.trial FOLDER PARENT

FOLDER holds ``asked.json`` and ``rows.arrow``; the answer becomes ``answer.json`` there. PARENT is
the process that asks: this one ends with it.
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
    settle_outputs,
)
from nocturne.engine.model import Model, Raw
from nocturne.engine.refused import refusal_reasons
from nocturne.errors import ModelError, NocturneError
from nocturne.fitting import casts
from nocturne.hiding import cause_of, lacking, said_by
from nocturne.model.requirements import lacks
from nocturne.store.record_files import read, write
from nocturne.trial import ANSWER, ASKED, READY, ROWS, UNWRITTEN, Answer, Asked, Trial
from nocturne.worker.split import BACKENDS

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
"""Of Linux's ``prctl``."""
_ENDING = 2.0
"""Seconds for what the model started to end when it is killed."""
_SLOW = 0.1
"""Seconds for a row."""
_SHOWN, _LONG = 3, 80
"""Of so many rows the scores are shown, with so many characters each."""


def main(folder: Path, parent: int | None = None) -> None:
    """Ends the process, also where threads of the model would keep it."""
    _tie(os.getppid() if parent is None else parent)
    try:
        asked = read(Asked, folder / ASKED)
        _bound()
        with pa.ipc.open_file(folder / ROWS) as file:
            rows = file.read_all().combine_chunks().to_batches()[0]
        import torch

        torch.set_num_threads(1)
        (folder / READY).touch()
        signal.alarm(int(asked.seconds) + 30)  # were the one who asks stopped
        write(folder / ANSWER, _answer(asked, rows), durable=False)
    except OSError as error:
        with suppress(OSError):
            (folder / READY).rename(folder / UNWRITTEN)
        with suppress(OSError):
            traceback.print_exc()
        os._exit(error.errno or 1)
    _end_children()
    os._exit(0)


def _tie(parent: int) -> None:
    """End with the process that asks, and be the parent of all that the model starts: so it can
    be found, also what has a session of its own.
    """
    with suppress(OSError, AttributeError):  # of Linux
        system = ctypes.CDLL(None)
        system.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        system.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    if os.getppid() != parent and not psutil.pid_exists(parent):
        os._exit(1)


def _end_children() -> None:
    """Kill what the model started, until nothing of it starts more."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # the model's own may raise
    me = psutil.Process()
    until = time.monotonic() + _ENDING
    with suppress(psutil.Error):
        while (found := _running(me)) and time.monotonic() < until:
            for one in found:
                with suppress(psutil.Error):
                    one.kill()
            psutil.wait_procs(found, _ENDING)


def _running(me: psutil.Process) -> list[psutil.Process]:
    found = []
    for one in me.children(recursive=True):
        with suppress(psutil.Error):
            if one.status() != psutil.STATUS_ZOMBIE:
                found.append(one)
    return found


def _bound() -> None:
    """Leaves no core, and is what Linux kills first when memory runs out."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _answer(asked: Asked, rows: pa.RecordBatch) -> Answer:
    """A GPU that this machine lacks is no fault of the model's: then it is tried on the CPU."""
    import torch

    elsewhere = asked.device != "cpu" and not torch.cuda.is_available()
    device = "cpu" if elsewhere else asked.device
    try:
        return _try(asked, rows, device, time.monotonic() + 0.8 * asked.seconds)
    except NocturneError as error:
        return Answer(fault=str(error), error=type(error).__name__, elsewhere=elsewhere)
    except Exception as error:
        if (failed := lacking(error)) is not None:
            return Answer(missing=lacks(asked.model.path, failed))
        return _failed(f"it can't be loaded: {said_by(error)}", error, elsewhere=elsewhere)


def _failed(fault: str, error: Exception, *, elsewhere: bool) -> Answer:
    """It is the model's, unless the disk is full."""
    cause = cause_of(error)
    if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
        fault += ". Free some space, then run the same command again"
        return Answer(fault=fault, error="RetryableError", elsewhere=elsewhere)
    return Answer(fault=fault, elsewhere=elsewhere)


def _try(asked: Asked, rows: pa.RecordBatch, device: str, until: float) -> Answer:
    encoding = asked.encoding
    seen, lost = cast_rows(rows, casts(encoding, rows.schema, asked.told))
    if (why := refusal_reasons(seen, encoding)) is not None:
        lost = pc.coalesce(lost, why)
    seen = seen.filter(lost.is_null())
    if not seen.num_rows:  # what scoring will find to be wrong with the data
        return Answer(Trial(encoding.complete().outputs, 0))
    load = BACKENDS[asked.model.backend]
    model = load(asked.model.path, encoding, device=device, kernel="graph", precision="float32")
    raw, raised = _called(model, encoding, seen, until)
    first = next((error for error in raised if error is not None), None)
    if raw is None:
        assert first is not None
        if (missing := lacking(first)) is not None:
            raise missing
        why = said_by(first, _values(seen))
        fault = f"it raises on each of the {len(raised)} rows that it was tried on: {why}"
        return _failed(fault, first, elsewhere=device != asked.device)
    outputs = (
        encoding.outputs if asked.spec else settle_outputs(encoding.outputs, raw, firm=asked.firm)
    )
    if any(output.name == REASON for output in outputs):
        raise ModelError(
            f"the model predicts {REASON}, which is the name of a column that Nocturne makes. Say "
            "in model.outputs which outputs are wanted, or have the model name it otherwise"
        )
    reasons = {row: "" for row, error in enumerate(raised) if error is not None}
    failed = len(reasons)
    done = predictions(raw, len(raised), replace(encoding, outputs=outputs), reasons)
    if asked.spec:
        check_outputs(outputs, raw)
    cause = said_by(first, _values(seen)) if first else ""
    return Answer(Trial(outputs, len(raised), failed, cause, _shown(done)))


def _called(
    model: Model, encoding: Encoding, rows: pa.RecordBatch, until: float
) -> tuple[Raw | None, list[Exception | None]]:
    """What the model returns (None: it raised each time), and of each row tried what it raised.

    First one row, which says how long a row takes (another where that was slow: it may have been
    the start); then as many as half of the time is left for, at once, and where it raises on them,
    one by one. Some models take seconds a row.
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
    rest = min(rows.num_rows - first, int((until - time.monotonic()) / 2 / max(once, 1e-6)))
    if rest > 0 and call(first, rest) is not None and rest > 1:
        for row in range(first, first + rest):
            if time.monotonic() > until:
                break
            call(row, 1)
    found = concatenated(pieces)
    return (list(found.values()) if found is not None and in_order else found), raised


def _values(rows: pa.RecordBatch) -> dict[str, list[object]]:
    """Column -> its values, as far as Python has such."""
    found: dict[str, list[object]] = {}
    for name, column in zip(rows.schema.names, rows.columns, strict=True):
        with suppress(ValueError, OverflowError):
            found[name] = column.to_pylist()
    return found


def _shown(done: pa.RecordBatch) -> tuple[dict[str, str], ...]:
    """The predictions of three rows that have some, in words."""
    good = done.filter(done.column(REASON).is_null()).slice(0, _SHOWN).drop_columns([REASON])
    return tuple({name: _word(value) for name, value in row.items()} for row in good.to_pylist())


def _word(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONG else text[: _LONG - 3] + "..."


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
