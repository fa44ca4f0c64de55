"""Pins the settings that decide bits when a run is planned, such as kernel and micro-batch.

The fastest kernel and micro-batch are searched for where ``prepare`` runs, on a sample of the
partition, once for each model, device and row width. The state (``tuning/``) keeps the result for
later runs. If the workers' device is not available, the size at which a search would start is
pinned. If a GPU runs out of memory, the smaller size that it could score is stored.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from nocturne.config import Pipeline, Scoring
from nocturne.encoding import Encoding
from nocturne.errors import ConfigError, ModelError, StateError, choices
from nocturne.fitting import casts
from nocturne.objects import Location
from nocturne.records.plan import ModelRef, Pinned, Tuning
from nocturne.records.result import SplitResult
from nocturne.source.sample import SampleFiles, sample
from nocturne.store.files import digest, forget
from nocturne.store.pipeline_state import PipelineState
from nocturne.store.record_files import find, write
from nocturne.store.run import Run

__all__ = ["device_of", "pin", "remember", "tune"]

log = logging.getLogger(__name__)

_BATCH_BYTES = 32 << 20
Requested = tuple[str, int | str]
"""The kernel and the micro-batch that the pipeline requests; each may be "auto"."""

_KERNELS = ("graph", "onednn", "mkl")
_LARGEST_BATCH = 1 << 24
"""The largest micro-batch that a search can have stored, in rows."""

_COSTLY_BATCH = 16
"""Rows of a call that costs: few, since all of them are quarantined if it raises."""


def pin(
    scoring: Scoring,
    model: ModelRef,
    encoding: Encoding,
    state: PipelineState,
    files: SampleFiles,
    *,
    costly: bool = False,
) -> Pinned:
    """The settings that a run is scored with.

    Args:
        state: the pipeline's state.
        files: the files that the sample is read from. A search gives a pyfunc model no more rows
            than they have.
        costly: whether the model's calls cost (``model.calls``); then nothing is searched for.

    Raises:
        InputError: a file can't be read.
    """
    device = device_of(scoring.device)
    pinned = Pinned(device, 0, scoring.threads, scoring.precision, 0)
    requested = scoring.kernel, scoring.micro_batch
    path = state.tuning(_name(model, encoding, pinned, requested))
    if scoring.kernel != "auto" and scoring.micro_batch != "auto":
        tuning = Tuning(scoring.kernel, scoring.micro_batch, found=False)
    elif costly and model.backend == "pyfunc":
        size = _COSTLY_BATCH if scoring.micro_batch == "auto" else scoring.micro_batch
        tuning = Tuning("graph", size, found=False)
    elif (stored := _kept(path)) is not None:
        tuning = stored
    else:
        tuning = _tune(pinned, requested, model, encoding, files)
        if tuning.found:
            write(path, tuning, exclusive=True)
            # If two searches ran at once, the first one counts for both.
            tuning = _kept(path) or tuning
    read = min(scoring.batch_rows, max(1, _BATCH_BYTES // encoding.row_bytes))
    micro_batch = tuning.micro_batch
    whole = -(-read // micro_batch) * micro_batch
    return replace(pinned, kernel=tuning.kernel, micro_batch=micro_batch, batch_rows=whole)


def tune(
    pipeline: Pipeline,
    model: ModelRef,
    encoding: Encoding,
    state: PipelineState,
    files: SampleFiles,
    again: bool = False,
) -> Tuning:
    """What a search has found for the pipeline's settings, or finds now.

    Args:
        again: search anyway; what it finds replaces what is stored.

    Raises:
        ConfigError: nothing is searched for: the settings, the model or the partition leave no
            choice.
    """
    scoring = pipeline.scoring
    nothing = f"nothing is measured for {model.name} version {model.version}: "
    pinned = Pinned(device_of(scoring.device), 0, scoring.threads, scoring.precision, 0)
    requested = scoring.kernel, scoring.micro_batch
    if "auto" not in requested:
        raise ConfigError(f"{nothing}scoring.kernel and scoring.micro_batch are given")
    if pipeline.model.calls == "costly" and model.backend == "pyfunc":
        raise ConfigError(f"{nothing}model.calls is costly")
    path = state.tuning(_name(model, encoding, pinned, requested))
    if not again and (stored := _kept(path)) is not None:
        return stored
    try:
        found = _searched(pinned, requested, model, encoding, files)
    except _Unsearched as error:
        raise ConfigError(f"{nothing}{error}") from None
    write(path, found)
    return found


def _kept(path: Location) -> Tuning | None:
    """The result of an earlier search; None if there is none, or it is damaged."""
    try:
        stored = find(Tuning, path)
        if stored is not None and not _is_valid(stored):
            raise StateError(
                f"{path}: got the kernel {stored.kernel} and {stored.micro_batch} rows, expected "
                f"one of {choices(_KERNELS)} and 1 to {_LARGEST_BATCH} rows"
            )
    except StateError as error:
        log.warning("%s: the search is made again", error)
        with suppress(OSError):
            forget(path)
        return None
    return stored


def _is_valid(tuning: Tuning) -> bool:
    return tuning.kernel in _KERNELS and 0 < tuning.micro_batch <= _LARGEST_BATCH


def remember(run: Run, scoring: Scoring, results: Sequence[SplitResult]) -> None:
    """Store the micro-batch that the device's memory allowed, for the next runs."""
    plan = run.plan
    least = min((r.micro_batch for r in results if r.micro_batch), default=plan.pinned.micro_batch)
    if least >= plan.pinned.micro_batch:
        return
    requested = scoring.kernel, scoring.micro_batch
    name = _name(plan.model, plan.encoding, plan.pinned, requested)
    path = PipelineState(run.state.root).tuning(name)
    write(path, Tuning(plan.pinned.kernel, least, found=True))


def _name(model: ModelRef, encoding: Encoding, pinned: Pinned, requested: Requested) -> str:
    device = _device_name(pinned.device)
    key = digest(
        model.sha256,
        device,
        encoding.row_bytes,
        pinned.precision,
        pinned.threads,
        requested,
        _torch_version(),
    )
    return f"{model.name}-{model.version}-{pinned.device}-{key[:12]}"


class _Unsearched(Exception):
    """There was no search, or it failed; the text says why."""

    def __init__(self, why: str, start: Tuning) -> None:
        super().__init__(why)
        self.start = start


def _tune(
    pinned: Pinned, requested: Requested, model: ModelRef, encoding: Encoding, files: SampleFiles
) -> Tuning:
    """The result of a search on a sample; if there is none, the unmeasured start of the search."""
    try:
        return _searched(pinned, requested, model, encoding, files)
    except _Unsearched as error:
        if error.__cause__ is not None:  # perhaps a bad row in the sample; scoring finds it
            log.warning("%s. Its micro-batch stays at %d rows", error, error.start.micro_batch)
        return error.start


def _searched(
    pinned: Pinned, requested: Requested, model: ModelRef, encoding: Encoding, files: SampleFiles
) -> Tuning:
    """Raises: _Unsearched if there is nothing to search, or the model can't score the sample."""
    from nocturne import engine
    from nocturne.worker.scoring import BACKENDS

    def load(kernel: str) -> engine.Model:
        return BACKENDS[model.backend](
            model.path, encoding, device=pinned.device, kernel=kernel, precision=pinned.precision
        )

    plan = engine.search_plan(pinned, requested, encoding, pyfunc=model.backend == "pyfunc")
    if not plan.here:
        raise _Unsearched(f"its device, {pinned.device}, is not on this machine", plan.unmeasured)
    if not plan.is_worthwhile(files.rows) or not files.files:
        raise _Unsearched(f"{files.rows} rows are too few", plan.unmeasured)
    try:
        rows = sample(files, encoding, engine.SAMPLE_ROWS)
        cast = casts(encoding, rows.schema, files.cast)
        with redirect_stdout(sys.stderr):  # a model that prints
            return plan.search(load, rows, cast, files.rows)
    except ModelError as error:
        raise _Unsearched(str(error), plan.unmeasured) from error


def device_of(requested: str) -> str:
    """The device to pin, since it decides bits. torch is not imported, which would take seconds."""
    if requested != "auto":
        return requested
    return "cuda" if Path("/dev/nvidiactl").exists() and _torch_has_cuda() else "cpu"


def _torch_has_cuda() -> bool:
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    text = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    return re.search(r"^cuda\b.*=\s*['\"]", text, re.MULTILINE) is not None


def _torch_version() -> str:
    try:
        return version("torch")
    except PackageNotFoundError:
        return ""


def _device_name(device: str) -> str:
    """The model of the CPU or GPU according to Linux, without torch."""
    pattern, files = r"model name\s*:\s*(.+)", [Path("/proc/cpuinfo")]
    if device != "cpu":
        folder = Path("/proc/driver/nvidia/gpus")
        pattern, files = r"Model:\s*(.+)", sorted(folder.glob("*/information"))
    for path in files:
        if path.exists() and (match := re.search(pattern, path.read_text(errors="replace"))):
            return match[1].strip()
    return f"{device} of {os.uname().machine}"
