"""What decides bits, pinned at planning: the kernel and the micro-batch are measured once.

The search runs where ``prepare`` runs, on a sample of the partition, once for a model, a
device and a row width, and is kept in the state (``tuning/``). Where the workers' device is
not at hand, a start is pinned unmeasured. Later runs use what is kept; a GPU whose memory ran
out leaves the smaller size there.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from nocturne.config import Scoring
from nocturne.encoding import Encoding
from nocturne.errors import ModelError, StateError
from nocturne.fitting import casts
from nocturne.records.plan import ModelRef, Pinned, Tuning
from nocturne.records.result import SplitResult
from nocturne.source.sample import SampleFiles, sample
from nocturne.store.files import digest
from nocturne.store.pipeline_state import PipelineState
from nocturne.store.record_files import find, write
from nocturne.store.run import Run

__all__ = ["device_of", "pin", "remember"]

log = logging.getLogger(__name__)

_BATCH_BYTES = 32 << 20
Wanted = tuple[str, int | str]
"""Kernel and micro-batch as the pipeline says them, "auto" or by hand."""

_KERNELS = ("graph", "onednn")
_MOST = 1 << 24
"""Rows at once that a search may have found."""

_COSTLY = 16
"""Rows of a call that costs: few, since all of them are bad where it raises."""


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
        state: of the pipeline.
        files: for a sample of rows; a pyfunc model is given no more to search with than it has.
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
        tuning = _tune(pinned, wanted, model, encoding, files)
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
        log.warning("%s: the search is made again", error)
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
    name = _name(plan.model, plan.encoding, plan.pinned, wanted)
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
    pinned: Pinned, wanted: Wanted, model: ModelRef, encoding: Encoding, files: SampleFiles
) -> Tuning:
    """Search on a sample; where that can't be done, the start of a search, unmeasured."""
    from nocturne import engine
    from nocturne.worker.split import BACKENDS

    def load(kernel: str) -> engine.Model:
        return BACKENDS[model.backend](
            model.path, encoding, device=pinned.device, kernel=kernel, precision=pinned.precision
        )

    plan = engine.search_plan(pinned, wanted, encoding, pyfunc=model.backend == "pyfunc")
    if not plan.is_worthwhile(files.rows) or not files.files:
        return plan.unmeasured
    try:
        rows = sample(files, encoding, engine.SAMPLE_ROWS)
        cast = casts(encoding, rows.schema, files.cast)
        return plan.search(load, rows, cast, files.rows)
    except ModelError as error:  # perhaps a bad row in the sample; scoring will find it
        log.warning("%s. Its micro-batch stays at %d rows", error, plan.start)
        return plan.unmeasured


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
