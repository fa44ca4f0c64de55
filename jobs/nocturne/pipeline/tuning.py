"""What decides bits, pinned at planning: the kernel and the micro-batch are measured once.

The search runs where ``prepare`` runs, on a sample of the partition, once for a model, a
device and a row width, and is kept in the state (``tuning/``). Where the workers' device is
not at hand, a start is pinned unmeasured. Later runs use what is kept; a GPU whose memory ran
out leaves the smaller size there.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa

from nocturne.columns.fitting import casts
from nocturne.config import Scoring
from nocturne.errors import ModelError, StateError
from nocturne.model.encoding import Encoding
from nocturne.records import ModelRef, Pinned, SplitResult, Tuning
from nocturne.source.path_columns import of_file
from nocturne.source.reading import file_schema, open_parquet, read_batches
from nocturne.store.files import digest
from nocturne.store.pipeline_state import PipelineState
from nocturne.store.record_files import find, write
from nocturne.store.run import Run

__all__ = ["Night", "device_of", "pin", "remember", "sample"]

_BATCH_BYTES = 32 << 20
_TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2}
Wanted = tuple[str, int | str]
"""Kernel and micro-batch as the pipeline says them, "auto" or by hand."""

_KERNELS = ("graph", "onednn")
_MOST = 1 << 24
"""Rows at once that a search may have found."""

_PYFUNC = 1024, 1 << 16
"""Where the search starts and ends for pyfunc, whose calls cost milliseconds."""
_SEARCHED = 1 << 16
"""Rows of the least night that a pyfunc model is searched on: a shorter one gains nothing, it makes
64 calls of 1024 rows at most."""
_COSTLY = 16
"""Rows of a call that costs: few, since all of them are bad where it raises."""


@dataclass(frozen=True)
class Night:
    """What a sample of rows is taken from.

    Attributes:
        files: of the partition; none: there is no sample, and nothing is measured.
        rows: theirs, as far as they are known.
        told: ``input.cast``, column -> target.
        checksums: compare pages with theirs (``input.checksums``).
        given: columns of the files' paths, a row a file (``nocturne.source.path_columns``).
    """

    files: Sequence[Path]
    rows: int = 0
    told: Mapping[str, str] = field(default_factory=dict)
    checksums: bool = True
    given: pa.RecordBatch | None = None


def pin(
    scoring: Scoring,
    model: ModelRef,
    encoding: Encoding,
    state: PipelineState,
    night: Night,
    *,
    costly: bool = False,
) -> Pinned:
    """The settings that a run is scored with.

    Args:
        state: of the pipeline.
        night: for a sample of rows; a pyfunc model is given no more to search with than it has.
        costly: the model's calls cost (``model.calls``): there is no search.

    Raises:
        InputError: a file can't be read.
    """
    device = device_of(scoring.device)
    pinned = Pinned(device, 0, scoring.threads, scoring.precision, 0)
    wanted = scoring.kernel, scoring.micro_batch
    path = state.tuning(_name(model, encoding, pinned, wanted))
    if scoring.kernel != "auto" and scoring.micro_batch != "auto":
        tuning = Tuning(scoring.kernel, scoring.micro_batch, found=False)
    elif costly and model.backend == "pyfunc":
        size = _COSTLY if scoring.micro_batch == "auto" else scoring.micro_batch
        tuning = Tuning("graph", size, found=False)
    elif (kept := _kept(path)) is not None:
        tuning = kept
    else:
        tuning = _tune(pinned, wanted, model, encoding, night)
        if tuning.found:
            write(path, tuning, exclusive=True)
            tuning = _kept(path) or tuning  # of two at once the first one counts for both
    read = min(scoring.batch_rows, max(1, _BATCH_BYTES // encoding.row_bytes))
    micro_batch = tuning.micro_batch
    whole = -(-read // micro_batch) * micro_batch
    return replace(pinned, kernel=tuning.kernel, micro_batch=micro_batch, batch_rows=whole)


def _kept(path: Path) -> Tuning | None:
    """What an earlier search found; what is damaged is searched for again."""
    try:
        found = find(Tuning, path)
        if found is not None and not (found.kernel in _KERNELS and 0 < found.micro_batch <= _MOST):
            raise StateError(f"{path} says {found.kernel}, {found.micro_batch} rows, which is none")
    except StateError as error:
        print(f"nocturne: {error}: the search is made again", file=sys.stderr)
        with suppress(OSError):
            path.unlink()
        return None
    return found


def remember(run: Run, scoring: Scoring, results: Sequence[SplitResult]) -> None:
    """Keep the micro-batch that the device's memory allowed, for the next runs."""
    plan = run.plan
    least = min((r.micro_batch for r in results if r.micro_batch), default=plan.pinned.micro_batch)
    if least >= plan.pinned.micro_batch:
        return
    wanted = scoring.kernel, scoring.micro_batch
    name = _name(plan.model, Encoding.of(plan.encoding), plan.pinned, wanted)
    path = PipelineState(run.state.root).tuning(name)
    write(path, Tuning(plan.pinned.kernel, least, found=True))


def _name(model: ModelRef, encoding: Encoding, pinned: Pinned, wanted: Wanted) -> str:
    name = _device_name(pinned.device)
    key = digest(
        model.sha256,
        name,
        encoding.row_bytes,
        pinned.precision,
        pinned.threads,
        wanted,
        _torch_version(),
    )
    return f"{model.name}-{model.version}-{pinned.device}-{key[:12]}"


def _tune(
    pinned: Pinned,
    wanted: Wanted,
    model: ModelRef,
    encoding: Encoding,
    night: Night,
) -> Tuning:
    """Search on a sample; where that can't be done, the start of a search, unmeasured."""
    import torch

    from nocturne import engine

    there = pinned.device == "cpu" or torch.cuda.is_available()
    memory = torch.cuda.mem_get_info()[0] if there and pinned.device != "cpu" else None
    start, largest = engine.first_sizes(encoding.row_bytes, pinned.device, memory)
    pyfunc = model.backend == "pyfunc"
    if pyfunc:
        start, largest = _PYFUNC
    kernel, micro_batch = wanted
    if isinstance(micro_batch, int):
        start = largest = micro_batch
    kernels = _kernels(pinned, model) if kernel == "auto" else [kernel]
    unmeasured = Tuning(kernels[0], start, found=False)
    few = pyfunc and (night.rows < _SEARCHED or start == largest)
    if not there or not night.files or few:
        return unmeasured
    torch.set_num_threads(pinned.threads)
    alone = pinned.threads == 1 and pinned.device == "cpu" and model.backend == "torch"
    try:
        rows = sample(night, encoding, engine.SAMPLE_ROWS)
        seen_as = casts(encoding, rows.schema, night.told)
        seen, _ = engine.cast_rows(rows, seen_as, dict.fromkeys(seen_as, 0))
        encoded = engine.encode(seen, encoding)
        return engine.search(
            partial(_load, pinned, model, encoding),
            kernels,
            encoded,
            start=start,
            largest=largest,
            least=1 if pyfunc else 64 if pinned.device == "cpu" else max(64, start // 16),
            rows=night.rows if pyfunc else None,
            tolerance=_TOLERANCE[pinned.precision],
            # Spark's JVM starts meanwhile; one thread's work is told apart from that.
            clock=time.thread_time if alone else time.perf_counter,
        )
    except ModelError as error:  # perhaps a bad row in the sample; scoring will find it
        print(f"nocturne: {error}. Its micro-batch stays at {start} rows", file=sys.stderr)
        return unmeasured


def _kernels(pinned: Pinned, model: ModelRef) -> list[str]:
    from nocturne import engine

    if model.backend == "pyfunc" or pinned.device != "cpu":
        return ["graph"]
    return list(engine.KERNELS)


def _load(pinned: Pinned, model: ModelRef, encoding: Encoding, kernel: str) -> Any:
    from nocturne.worker.split import BACKENDS

    return BACKENDS[model.backend](
        model.path, encoding, device=pinned.device, kernel=kernel, precision=pinned.precision
    )


def sample(night: Night, encoding: Encoding, rows: int) -> pa.RecordBatch:
    """The first rows of a partition, with what the model reads.

    Raises:
        ModelError: there is none.
        InputError: a file can't be read.
    """
    for number, path in enumerate(night.files):
        own = of_file(night.given, number)
        with open_parquet(path, checksums=night.checksums) as source:
            there = file_schema(source, own).names
            columns = [name for name in encoding.columns if name in there]
            groups = range(source.num_row_groups)
            for batch in read_batches(source, path, groups, columns, rows, given=own):
                if batch.num_rows:
                    return batch
    raise ModelError("the partition has no row to try the model on")


def device_of(wanted: str) -> str:
    """Pinned here, since it decides bits. Importing torch only to ask would cost seconds."""
    if wanted != "auto":
        return wanted
    return "cuda" if Path("/dev/nvidiactl").exists() and _torch_has_cuda() else "cpu"


def _torch_has_cuda() -> bool:
    found = find_spec("torch")
    if found is None or found.origin is None:
        return False
    text = (Path(found.origin).parent / "version.py").read_text(encoding="utf-8")
    return re.search(r"^cuda\b.*=\s*['\"]", text, re.MULTILINE) is not None


def _torch_version() -> str:
    try:
        return version("torch")
    except PackageNotFoundError:
        return ""


def _device_name(device: str) -> str:
    """The model of the CPU or GPU, as Linux tells it; without torch."""
    pattern, places = r"model name\s*:\s*(.+)", [Path("/proc/cpuinfo")]
    if device != "cpu":
        folder = Path("/proc/driver/nvidia/gpus")
        pattern, places = r"Model:\s*(.+)", sorted(folder.glob("*/information"))
    for path in places:
        if path.exists() and (found := re.search(pattern, path.read_text(errors="replace"))):
            return found[1].strip()
    return f"{device} of {os.uname().machine}"
