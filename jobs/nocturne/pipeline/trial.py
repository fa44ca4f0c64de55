"""A model is called once before anything is scored: on some rows, in a process of its own.

What comes back fixes the names, types and lengths of the outputs, or is refused. Made once a model
version and what is declared of it, and kept in the state (``trials/``), so that the outputs of a
table don't change from files to files.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

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
from nocturne.pipeline.pinning import device_of
from nocturne.pipeline.scoring import application
from nocturne.source.sample import SampleFiles, sample
from nocturne.store.files import digest
from nocturne.store.pipeline_state import PipelineState
from nocturne.store.record_files import find, write
from nocturne.trial import Trial, TrialAnswer, TrialRequest
from nocturne.trial.process import as_file, ask

if TYPE_CHECKING:
    from nocturne.spark.application import Application

__all__ = ["TRIAL_SECONDS", "Workers", "kept_or_new", "tried", "try_model", "workers_of"]

log = logging.getLogger(__name__)

Workers = Callable[[TrialRequest, bytes], tuple[str, TrialAnswer]]
"""Tries a model on rows where it will be scored: the host's name, and its answer."""

TRIAL_SECONDS = 60.0
TRIAL_ROWS = 64
"""What is tried, where calls cost nothing."""
_AMONG = 16_384
"""Of so many rows, from the first, those that are tried are chosen."""
_EDGE = 16
"""At most so many of them for a null, and as many for a word that is there once."""

_REASON = "_reason"
"""As the engine calls it, which would be imported with torch."""


def tried(
    loaded: Loaded,
    resolved: Resolved,
    encoding: Encoding,
    state: PipelineState,
    files: SampleFiles,
    spark: Application | None = None,
) -> Encoding:
    """The encoding that a run is planned with: its outputs are what the model was seen to give.

    Args:
        encoding: as it is ``declared``.
        state: of the pipeline.
        files: without files, or where the model's calls cost, nothing is tried, and what is
            declared counts.
        spark: see ``workers_of``.

    Raises:
        ModelError: see ``try_model``.
        MachineError, RetryableError: Spark can't start, or can't try it.
        ConfigError: ``output.nullable`` names what there is not, or an output has a name that is
            taken.
    """
    pipeline = loaded.pipeline
    asked = TrialRequest(
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
    trial = kept_or_new(asked, files, state, workers_of(pipeline, spark))
    outputs = with_nulls(trial.outputs, pipeline.output.nullable)
    output = pipeline.output
    check_names(outputs, [*output.keys, *output.passthrough, *pipeline.input.partition])
    return replace(encoding, outputs=outputs)


def _require_outputs(encoding: Encoding, resolved: Resolved) -> None:
    """Raises: ConfigError if nothing says what a model gives that is not tried."""
    if not encoding.outputs or any(output.type == "any" for output in encoding.outputs):
        raise ConfigError(
            f"model.calls is costly, so {resolved.ref.name} is not tried, and its signature does "
            "not say what it gives: say so in model.outputs, as {score: double}"
        )


def check_names(outputs: Sequence[OutputSpec], published: Sequence[str]) -> None:
    """Raises: ConfigError if an output has the name of a column that is published beside it, or
    one that is the same to Spark.
    """
    names = [output.name for output in outputs]
    there = Counter(n.lower() for n in [*names, *{*published, MODEL_VERSION, _REASON}])
    taken = {name for name in names if there[name.lower()] > 1}
    if taken:
        raise ConfigError(
            f"the model predicts {choices(taken)}, which is the name of a key (of the table or the "
            "partition), of a passthrough column, of another prediction or of a column that "
            "Nocturne makes (Spark tells no upper case from lower); it predicts "
            f"{choices(names)}. Say in model.outputs which of them are wanted, take the column out "
            "of output.passthrough, or have the model name it otherwise"
        )


def workers_of(pipeline: Pipeline, spark: Application | None = None) -> Workers | None:
    """Spark's workers; None where they are on this machine too.

    Args:
        spark: an application of the caller's, which goes on; None: one of their own.
    """
    master = pipeline.spark.master
    if is_local(master):
        return None

    def ask_there(asked: TrialRequest, rows: bytes) -> tuple[str, TrialAnswer]:
        from nocturne.spark.trial import ask_worker

        name = f"{pipeline.name}: try the model"
        with application(pipeline, name, master) if spark is None else nullcontext(spark) as used:
            return ask_worker(used.context(), asked, rows)

    return ask_there


def kept_or_new(
    asked: TrialRequest, files: SampleFiles, state: PipelineState, workers: Workers | None = None
) -> Trial:
    """A trial, or what an earlier one found."""
    ref = asked.model
    key = digest(ref.sha256, asked.encoding.to_json(), asked.spec, asked.firm)
    path = state.trial(f"{ref.name}-{ref.version}-{key[:12]}")
    if (kept := _kept(path, asked)) is not None:
        return kept
    trial = try_model(asked, files, workers=workers)
    if trial.rows:
        write(path, trial, exclusive=True)
        trial = _kept(path, asked) or trial  # of two at once the first one counts for both
    return trial


def _kept(path: Path, asked: TrialRequest) -> Trial | None:
    """What an earlier trial found; what is damaged is found out again."""
    try:
        found = find(Trial, path)
        if found is not None and not _possible(found.outputs, asked):
            raise StateError(f"{path} has outputs that are none of this model's")
    except StateError as error:
        log.warning("%s: the model is tried again", error)
        with suppress(OSError):
            path.unlink()
        return None
    return found


def _possible(outputs: Sequence[OutputSpec], asked: TrialRequest) -> bool:
    if asked.spec:
        return tuple(outputs) == asked.encoding.outputs
    return bool(outputs) and all(o.name and o.type != "any" and not o.problem() for o in outputs)


def try_model(
    asked: TrialRequest,
    files: SampleFiles,
    *,
    rows: int = TRIAL_ROWS,
    workers: Workers | None = None,
) -> Trial:
    """Call the model on some rows.

    Args:
        files: where there is no file, or no row in them, nothing is tried, and what is declared
            counts.
        rows: how many, at most.
        workers: other machines, which score it: theirs is the answer where it fails on this one,
            which may have less memory, fewer packages or no GPU. None: it is scored here, and if
            its packages or its GPU are missing, what is declared counts.

    Raises:
        ModelError: the model can't be loaded, raises on all rows, ends its process, takes too long
            or too much memory; what it returns is not what is declared, or can't be published; or
            the workers too lack its packages or its GPU.
        InputError: a file can't be read, or a row can't become what the model takes.
    """
    what = f"model {asked.model.name} version {asked.model.version}"
    untried = Trial(asked.encoding.complete().outputs, 0)
    batch = _first(files, asked.encoding)
    if batch is None:
        return untried
    file = as_file(_chosen(batch, rows))
    answer, place = ask(asked, file), ""
    said = f"{what} can't be tried on this machine: {answer.missing or answer.fault}"
    if answer.trial is None and workers is not None:
        log.warning("%s. So a Spark worker tries it", said)
        host, answer = workers(asked, file)
        place = f" by a Spark worker on {host}"
    elif answer.missing or answer.elsewhere:  # scoring will say so, where it is the same there
        log.warning("%s. What it declares of its outputs counts", said)
        return untried
    if answer.trial is not None:
        return answer.trial
    raise getattr(errors, answer.error)(
        f"{what} was tried on some rows{place}, and nothing was scored: "
        f"{_lacking(answer, asked.device) or answer.fault}"
    )


def _lacking(answer: TrialAnswer, device: str) -> str:
    """What the workers lack, and what to do; "" if nothing."""
    if answer.missing:
        return (
            f"it needs a package that is not installed there: {answer.missing}. Install it for "
            "Spark's workers, then run the same command again"
        )
    if answer.elsewhere:
        return f"scoring.device is {device}, torch sees no GPU there, and on the CPU {answer.fault}"
    return ""


def _first(files: SampleFiles, encoding: Encoding) -> pa.RecordBatch | None:
    try:
        return sample(files, encoding, _AMONG)
    except ModelError:
        return None


def _chosen(batch: pa.RecordBatch, count: int) -> pa.RecordBatch:
    """Of the rows the first ones, some with a null, some with a word that no other has, and for
    the rest such as are evenly spread; in their order.
    """
    rows = batch.num_rows
    places = [*range(min(rows, count // 4)), *_nulls(batch)[:_EDGE], *_rare(batch)[:_EDGE]]
    spread = np.linspace(0, rows - 1, count).astype(int).tolist()
    picked = list(dict.fromkeys([*places[: count - 1], *spread]))[:count]
    return batch.take(pa.array(sorted(picked)))


def _nulls(batch: pa.RecordBatch) -> list[int]:
    """Of each column that has some the first null."""
    return [pc.index(c.is_null(), True).as_py() for c in batch.columns if c.null_count]


def _rare(batch: pa.RecordBatch) -> list[int]:
    """Of each column of text the first words that are there once, a few."""
    places = []
    for column in batch.columns:
        column = plain(column)
        if is_text(column.type):
            counts = pc.value_counts(column)
            once = counts.field("values").filter(pc.equal(counts.field("counts"), 1))
            places += [pc.index(column, word).as_py() for word in once.drop_null()[:4]]
    return places
