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
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa

from nocturne.config import Scoring
from nocturne.encoding import Encoding
from nocturne.errors import ModelError, StateError
from nocturne.files import digest
from nocturne.fitting import casts
from nocturne.reading import file_schema, open_parquet, read_batches
from nocturne.records import (
    ModelRef,
    Pinned,
    Run,
    SplitResult,
    Tuning,
    find,
    write,
)

__all__ = ["pin", "remember"]

_BATCH_BYTES = 32 << 20
_TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2}
Wanted = tuple[str, int | str]
"""Kernel and micro-batch as the pipeline says them, "auto" or by hand."""

_KERNELS = ("graph", "onednn")
_MOST = 1 << 24
"""Rows at once that a search may have found."""

_PYFUNC = 1024, 1 << 16
"""Where the search starts and ends for pyfunc, whose calls cost milliseconds."""


def pin(
    scoring: Scoring,
    model: ModelRef,
    encoding: Encoding,
    state: Path,
    files: Sequence[Path],
    told: Mapping[str, str] = {},
    *,
    checksums: bool = True,
    given: pa.RecordBatch | None = None,
) -> Pinned:
    """The settings that a run is scored with.

    Args:
        state: of the pipeline.
        files: of the partition, for a sample of its rows; none: nothing is measured.
        told: ``input.cast``, column -> target.
        checksums: compare the sample's pages with theirs (``input.checksums``).
        given: columns of the files' paths, a row a file (``nocturne.path_columns``).

    Raises:
        InputError: a file can't be read.
    """
    device = _device(scoring.device)
    pinned = Pinned(device, 0, scoring.threads, scoring.precision, 0)
    wanted = scoring.kernel, scoring.micro_batch
    path = _path(state, model, encoding, pinned, wanted)
    if scoring.kernel != "auto" and scoring.micro_batch != "auto":
        tuning = Tuning(scoring.kernel, scoring.micro_batch, found=False)
    elif (kept := _kept(path)) is not None:
        tuning = kept
    else:
        tuning = _tune(pinned, wanted, model, encoding, files, told, checksums, given)
        if tuning.found:
            write(path, tuning, exclusive=True)
            tuning = _kept(path) or tuning  # of two at once the first one counts for both
    rows = min(scoring.batch_rows, max(1, _BATCH_BYTES // encoding.row_bytes))
    micro_batch = tuning.micro_batch
    whole = -(-rows // micro_batch) * micro_batch
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


def remember(run: Run, results: Sequence[SplitResult]) -> None:
    """Keep the micro-batch that the device's memory allowed, for the next runs."""
    least = min((r.micro_batch for r in results if r.micro_batch), default=run.pinned.micro_batch)
    if least >= run.pinned.micro_batch:
        return
    encoding = Encoding.of(run.encoding)
    state = Path(run.state_dir).parents[max(1, len(run.partition.keys)) - 1]
    scoring = run.config.get("scoring", {})
    wanted = scoring.get("kernel", "auto"), scoring.get("micro_batch", "auto")
    path = _path(state, run.model, encoding, run.pinned, wanted)
    write(path, Tuning(run.pinned.kernel, least, found=True))


def _path(state: Path, model: ModelRef, encoding: Encoding, pinned: Pinned, wanted: Wanted) -> Path:
    name = _device_name(pinned.device)
    key = digest(model.sha256, name, encoding.row_bytes, pinned.precision, pinned.threads,
                 wanted, _torch_version())  # fmt: skip
    return state / "tuning" / f"{model.name}-{model.version}-{pinned.device}-{key[:12]}.json"


def _tune(
    pinned: Pinned,
    wanted: Wanted,
    model: ModelRef,
    encoding: Encoding,
    files: Sequence[Path],
    told: Mapping[str, str],
    checksums: bool,
    given: pa.RecordBatch | None,
) -> Tuning:
    """Search on a sample; where that can't be done, the start of a search, unmeasured."""
    import torch

    from nocturne import engine

    there = pinned.device == "cpu" or torch.cuda.is_available()
    memory = torch.cuda.mem_get_info()[0] if there and pinned.device != "cpu" else None
    start, largest = engine.first_sizes(encoding.row_bytes, pinned.device, memory)
    if model.backend == "pyfunc":
        start, largest = _PYFUNC
    kernel, micro_batch = wanted
    if isinstance(micro_batch, int):
        start = largest = micro_batch
    kernels = _kernels(pinned, model) if kernel == "auto" else [kernel]
    unmeasured = Tuning(kernels[0], start, found=False)
    if not there or not files:
        return unmeasured
    torch.set_num_threads(pinned.threads)
    alone = pinned.threads == 1 and pinned.device == "cpu" and model.backend == "torch"
    try:
        sample = _sample(files, encoding, engine.SAMPLE_ROWS, checksums, given)
        seen_as = casts(encoding, sample.schema, told)
        seen, _ = engine.cast_rows(sample, seen_as, dict.fromkeys(seen_as, 0))
        encoded = engine.encode(seen, encoding)
        return engine.search(
            partial(_load, pinned, model, encoding),
            kernels,
            encoded,
            start=start,
            largest=largest,
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
    from nocturne.split import load_backend

    return load_backend(model.backend)(
        model.path, encoding, device=pinned.device, kernel=kernel, precision=pinned.precision
    )


def _sample(
    files: Sequence[Path],
    encoding: Encoding,
    rows: int,
    checksums: bool,
    given: pa.RecordBatch | None = None,
) -> pa.RecordBatch:
    for number, path in enumerate(files):
        own = given.slice(number, 1) if given is not None else None
        with open_parquet(path, checksums=checksums) as source:
            there = file_schema(source, own).names
            columns = [name for name in encoding.columns if name in there]
            groups = range(source.num_row_groups)
            for batch in read_batches(source, path, groups, columns, rows, given=own):
                if batch.num_rows:
                    return batch
    raise ModelError("the partition has no row to try the model on")


def _device(wanted: str) -> str:
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
