"""Tries a model before anything is scored: on some rows, in a process of its own.

The returned values fix the names, types and lengths of the outputs, or they are refused. There is
one trial for each model version and its declared outputs. The state (``trials/``) keeps it, so that
the output columns of a table do not depend on the files that are scored.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne import errors
from nocturne.columns.normal import plain
from nocturne.columns.types import is_text
from nocturne.config import Loaded, Pipeline
from nocturne.encoding import MODEL_VERSION, Encoding, OutputSpec, with_nulls
from nocturne.errors import ConfigError, ModelError, StateError, choices
from nocturne.host.machine import is_local
from nocturne.model.registry import Resolved
from nocturne.objects import Location
from nocturne.pipeline.pinning import device_of
from nocturne.pipeline.scoring import Executor, executor
from nocturne.source.sample import SampleFiles, sample
from nocturne.store.files import digest, forget
from nocturne.store.pipeline_state import PipelineState
from nocturne.store.record_files import find, write
from nocturne.trial import Trial, TrialAnswer, TrialRequest
from nocturne.trial.process import as_file, ask

__all__ = ["TRIAL_SECONDS", "Workers", "kept_or_new", "tried_encoding", "try_model", "workers_of"]

log = logging.getLogger(__name__)

Workers = Callable[[TrialRequest, bytes], tuple[str, TrialAnswer]]
"""Tries a model on rows where it will be scored; returns the host's name and the answer."""

TRIAL_SECONDS = 60.0
TRIAL_ROWS = 64
"""The rows of a trial, unless the model's calls cost."""
_CANDIDATES = 16_384
"""The rows of a trial are chosen among so many rows, from the first on."""
_UNUSUAL = 16
"""The most rows that are chosen for a null, and the most for a rare text."""

_CHECKED = dict.fromkeys(("torch", "torch_pickled"), ("rows alone",))
"""Backend -> what its trials check that earlier versions did not: trials that they kept are made
again. Those of other models stay, since other rows might give other outputs."""
_REASON_COLUMN = "_reason"
"""The engine's ``REASON``. Importing the engine would import torch."""


def tried_encoding(
    loaded: Loaded,
    resolved: Resolved,
    encoding: Encoding,
    state: PipelineState,
    files: SampleFiles,
    by: Executor | None = None,
) -> Encoding:
    """The encoding that a run is planned with: its outputs are those that the trial returned.

    Args:
        encoding: the encoding with the declared outputs.
        state: the pipeline's state.
        files: without files, or if the model's calls cost, nothing is tried, and the declared
            outputs are used.
        by: see ``workers_of``.

    Raises:
        ModelError: see ``try_model``.
        MachineError, RetryableError: Spark can't start, or can't try the model.
        ConfigError: ``output.nullable`` names an unknown output, or the name of an output is taken.
    """
    pipeline = loaded.pipeline
    request = TrialRequest(
        model=resolved.ref,
        encoding=encoding,
        spec=resolved.has_spec,
        firm=bool(pipeline.model.outputs),
        input_cast=dict(files.cast),
        device=device_of(pipeline.scoring.device),
        seconds=pipeline.model.trial_seconds,
    )
    if pipeline.model.calls == "costly":
        files = replace(files, files=())
        _require_outputs(encoding, resolved)
    trial = kept_or_new(request, files, state, workers_of(pipeline, by))
    outputs = with_nulls(trial.outputs, pipeline.output.nullable)
    output = pipeline.output
    check_names(outputs, [*output.keys, *output.passthrough, *pipeline.input.partition])
    return replace(encoding, outputs=outputs)


def _require_outputs(encoding: Encoding, resolved: Resolved) -> None:
    """Raises: ConfigError if the outputs of a model that is not tried are not declared."""
    if not encoding.outputs or any(output.type == "any" for output in encoding.outputs):
        raise ConfigError(
            f"model.calls is costly, so {resolved.ref.name} is not tried, and its signature does "
            "not say what it gives: say so in model.outputs, as {score: double}"
        )


def check_names(outputs: Sequence[OutputSpec], published: Sequence[str]) -> None:
    """Raises: ConfigError if an output has the name of another published column.

    Names are compared without case, as Spark compares them.
    """
    names = [output.name for output in outputs]
    counts = Counter(n.lower() for n in [*names, *{*published, MODEL_VERSION, _REASON_COLUMN}])
    taken = {name for name in names if counts[name.lower()] > 1}
    if taken:
        raise ConfigError(
            f"the model predicts {choices(taken)}, which is the name of a key (of the table or the "
            "partition), of a passthrough column, of another prediction or of a column that "
            "Nocturne makes (Spark tells no upper case from lower); it predicts "
            f"{choices(names)}. Say in model.outputs which of them are wanted, remove the column "
            "from output.passthrough, or have the model name it otherwise"
        )


def workers_of(pipeline: Pipeline, by: Executor | None = None) -> Workers | None:
    """A function that tries a model on Spark's workers; None if they are on this machine.

    Args:
        by: the executor to use, which is not stopped. Default: a new one.
    """
    master = pipeline.spark.master
    if is_local(master):
        return None

    def ask_worker(request: TrialRequest, rows: bytes) -> tuple[str, TrialAnswer]:
        name = f"{pipeline.name}: try the model"
        with executor(pipeline, name, master) if by is None else nullcontext(by) as in_use:
            return in_use.try_model(request, rows)

    return ask_worker


def kept_or_new(
    request: TrialRequest, files: SampleFiles, state: PipelineState, workers: Workers | None = None
) -> Trial:
    """The stored trial of an earlier run, or a new one."""
    ref = request.model
    checked = _CHECKED.get(ref.backend, ())
    key = digest(ref.sha256, request.encoding.to_json(), request.spec, request.firm, *checked)
    path = state.trial(f"{ref.name}-{ref.version}-{key[:12]}")
    if (stored := _stored(path, request)) is not None:
        return stored
    trial = try_model(request, files, workers=workers)
    if trial.rows:
        write(path, trial, exclusive=True)
        trial = _stored(path, request) or trial  # the first of two trials counts for both
    return trial


def _stored(path: Location, request: TrialRequest) -> Trial | None:
    """The stored trial; None if there is none, or it is damaged."""
    try:
        trial = find(Trial, path)
        if trial is not None and not _is_valid(trial.outputs, request):
            raise StateError(f"{path} has outputs that are none of this model's")
    except StateError as error:
        log.warning("%s: the model is tried again", error)
        with suppress(OSError):
            forget(path)
        return None
    return trial


def _is_valid(outputs: Sequence[OutputSpec], request: TrialRequest) -> bool:
    if request.spec:
        return tuple(outputs) == request.encoding.outputs
    return bool(outputs) and all(o.name and o.type != "any" and not o.problem() for o in outputs)


def try_model(
    request: TrialRequest,
    files: SampleFiles,
    *,
    rows: int = TRIAL_ROWS,
    workers: Workers | None = None,
) -> Trial:
    """Call the model on some rows.

    Args:
        files: without files, or if they have no rows, nothing is tried, and the declared outputs
            are used.
        rows: the most rows to try it on.
        workers: tries the model on the machines that score it, if the trial fails on this machine,
            which may have less memory, fewer packages or no GPU. None: the model is scored on
            this machine, and if its packages or its GPU are missing, the declared outputs are used.

    Raises:
        ModelError: the model can't be loaded, raises on all rows, ends its process, or takes too
            long or too much memory; it returns something else than declared, or something that
            can't be published; or its packages or its GPU are missing on the workers too.
        InputError: a file can't be read, or a row can't be converted to what the model takes.
    """
    model = f"model {request.model.name} version {request.model.version}"
    untried = Trial(request.encoding.complete().outputs, 0)
    batch = _candidates(files, request.encoding)
    if batch is None:
        return untried
    file = as_file(_choose(batch, rows))
    answer, by = ask(request, file), ""
    problem = f"{model} can't be tried on this machine: {answer.missing or answer.fault}"
    if answer.trial is None and workers is not None:
        log.warning("%s. So a Spark worker tries it", problem)
        host, answer = workers(request, file)
        by = f" by a Spark worker on {host}"
    elif answer.missing or answer.elsewhere:  # scoring reports it, if it is missing there too
        log.warning("%s. What it declares of its outputs counts", problem)
        return untried
    if answer.trial is not None:
        return answer.trial
    raise getattr(errors, answer.error)(
        f"{model} was tried on some rows{by}, and nothing was scored: "
        f"{_missing_on_workers(answer, request.device) or answer.fault}"
    )


def _missing_on_workers(answer: TrialAnswer, device: str) -> str:
    """What is missing on the workers, and what to do; "" if nothing is."""
    if answer.missing:
        return (
            f"it needs a package that is not installed there: {answer.missing}. Install it for "
            "Spark's workers, then run the same command again"
        )
    if answer.elsewhere:
        return f"scoring.device is {device}, torch sees no GPU there, and on the CPU {answer.fault}"
    return ""


def _candidates(files: SampleFiles, encoding: Encoding) -> pa.RecordBatch | None:
    try:
        return sample(files, encoding, _CANDIDATES)
    except ModelError:
        return None


def _choose(batch: pa.RecordBatch, count: int) -> pa.RecordBatch:
    """Choose ``count`` rows, in their order.

    These are the first rows, some with nulls, some with rare texts, and others evenly spread.
    """
    rows = batch.num_rows
    positions = [*range(min(rows, count // 4)), *_nulls(batch)[:_UNUSUAL], *_rare(batch)[:_UNUSUAL]]
    spread = np.linspace(0, rows - 1, count).astype(int).tolist()
    picked = list(dict.fromkeys([*positions[: count - 1], *spread]))[:count]
    return batch.take(pa.array(sorted(picked)))


def _nulls(batch: pa.RecordBatch) -> list[int]:
    """The position of the first null in each column that has nulls."""
    return [pc.index(c.is_null(), True).as_py() for c in batch.columns if c.null_count]


def _rare(batch: pa.RecordBatch) -> list[int]:
    """The positions of a few texts in each column that occur only once."""
    positions = []
    for column in batch.columns:
        column = plain(column)
        if is_text(column.type):
            counts = pc.value_counts(column)
            once = counts.field("values").filter(pc.equal(counts.field("counts"), 1))
            positions += [pc.index(column, word).as_py() for word in once.drop_null()[:4]]
    return positions
