"""A model is called once before anything is scored: on some rows, in a process of its own.

What comes back fixes the names, types and lengths of the outputs, or is refused. Made once a model
version and what is declared of it, and kept in the state (``trials/``), so that the outputs of a
table don't change from night to night.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.compute as pc

from nocturne import errors
from nocturne.config import Loaded
from nocturne.encoding import MODEL_VERSION, Encoding, OutputSpec, is_text, output_of
from nocturne.errors import ConfigError, ModelError, StateError, choices
from nocturne.files import digest
from nocturne.normal import plain
from nocturne.pipeline.tuning import Night, device_of, sample
from nocturne.records import find, read, write
from nocturne.registry import Resolved
from nocturne.trial import ANSWER, ASKED, READY, ROWS, Answer, Asked, Trial

__all__ = ["TRIAL_SECONDS", "declared", "kept_or_new", "tried", "try_model", "with_nulls"]

TRIAL_SECONDS = 60.0
TRIAL_ROWS = 64
"""What is tried, where calls cost nothing."""
_AMONG = 16_384
"""Of so many rows, from the first, those that are tried are chosen."""
_EDGE = 16
"""At most so many of them for a null, and as many for a word that is there once."""

_MEMORY = 0.8
"""A part of the memory that is free: what a trial may take. It is looked at, not limited by the
system (``RLIMIT_AS``): torch, CUDA and Arrow map many times what they use."""
_REASON = "_reason"
"""As the engine calls it, which would be imported with torch."""
_LOOK = 0.05
"""Seconds between two looks."""
_START = 240.0
"""Seconds for Python, torch and Arrow to be there: that is no fault of the model's."""


def declared(loaded: Loaded, resolved: Resolved) -> Encoding:
    """A model's encoding, with its outputs as the YAML says them, else the model.

    Raises:
        ConfigError: both do, in an encoding spec.
    """
    said = loaded.pipeline.model.outputs
    if not said:
        return resolved.declared
    if resolved.has_spec:
        raise ConfigError(
            "model.outputs is for models without an encoding spec; "
            f"{resolved.ref.name} version {resolved.ref.version} has one, which says its outputs: "
            "take model.outputs out, or log the model with other ones"
        )
    outputs = tuple(output_of(name, text) for name, text in said.items())
    return replace(resolved.declared, outputs=outputs)


def tried(
    loaded: Loaded, resolved: Resolved, encoding: Encoding, state: Path, night: Night
) -> Encoding:
    """The encoding that a run is planned with: its outputs are what the model was seen to give.

    Args:
        encoding: as it is ``declared``.
        state: of the pipeline.
        night: without files, or where the model's calls cost, nothing is tried, and what is
            declared counts.

    Raises:
        ModelError: see ``try_model``.
        ConfigError: ``output.nullable`` names what there is not, or an output has a name that is
            taken.
    """
    pipeline = loaded.pipeline
    asked = Asked(
        model=resolved.ref,
        encoding=encoding,
        spec=resolved.has_spec,
        firm=bool(pipeline.model.outputs),
        told=dict(night.told),
        device=device_of(pipeline.scoring.device),
        seconds=pipeline.model.trial_seconds,
    )
    if pipeline.model.calls == "costly":
        night = replace(night, files=())
    trial = kept_or_new(asked, night, state)
    outputs = with_nulls(trial.outputs, pipeline.output.nullable)
    check_names(outputs, [*pipeline.output.keys, *pipeline.output.passthrough])
    return replace(encoding, outputs=outputs)


def with_nulls(
    outputs: Sequence[OutputSpec], nullable: Sequence[str] | None = None
) -> tuple[OutputSpec, ...]:
    """Those that may be null: of None all but the first.

    Raises:
        ConfigError: a name is no output's.
    """
    names = [output.name for output in outputs]
    if unknown := [name for name in nullable or () if name not in names]:
        raise ConfigError(
            f"output.nullable names {choices(unknown)}, which the model does not predict; it "
            f"predicts {choices(names)}"
        )
    may = names[1:] if nullable is None else nullable
    return tuple(replace(output, nullable=output.name in may) for output in outputs)


def check_names(outputs: Sequence[OutputSpec], published: Sequence[str]) -> None:
    """Raises: ConfigError if an output has the name of a column that is published beside it."""
    names = [output.name for output in outputs]
    taken = {*names} & {*published, MODEL_VERSION, _REASON}
    taken |= {name for name in names if names.count(name) > 1}
    if taken:
        raise ConfigError(
            f"the model predicts {choices(taken)}, which is the name of a key, of a passthrough "
            "column, of another prediction or of a column that Nocturne makes; it predicts "
            f"{choices(names)}. Say in model.outputs which of them are wanted, take the column out "
            "of output.passthrough, or have the model name it otherwise"
        )


def kept_or_new(asked: Asked, night: Night, state: Path) -> Trial:
    """A trial, or what an earlier one found."""
    ref = asked.model
    key = digest(ref.sha256, asked.encoding.to_json(), asked.spec, asked.firm)
    path = state / "trials" / f"{ref.name}-{ref.version}-{key[:12]}.json"
    if (kept := _kept(path, asked)) is not None:
        return kept
    trial = try_model(asked, night)
    if trial.rows:
        write(path, trial, exclusive=True)
        trial = _kept(path, asked) or trial  # of two at once the first one counts for both
    return trial


def _kept(path: Path, asked: Asked) -> Trial | None:
    """What an earlier trial found; what is damaged is found out again."""
    try:
        found = find(Trial, path)
        if found is not None and not _possible(found.outputs, asked):
            raise StateError(f"{path} has outputs that are none of this model's")
    except StateError as error:
        print(f"nocturne: {error}: the model is tried again", file=sys.stderr)
        with suppress(OSError):
            path.unlink()
        return None
    return found


def _possible(outputs: Sequence[OutputSpec], asked: Asked) -> bool:
    if asked.spec:
        return tuple(outputs) == asked.encoding.outputs
    return bool(outputs) and all(o.name and o.type != "any" and not o.problem() for o in outputs)


def try_model(asked: Asked, night: Night, *, rows: int = TRIAL_ROWS) -> Trial:
    """Call the model on some rows.

    Args:
        night: where there is no file, or no row in them, nothing is tried, and what is declared
            counts.
        rows: how many, at most.

    Raises:
        ModelError: the model can't be loaded, raises on all rows, ends its process, takes too long
            or too much memory; or what it returns is not what is declared, or can't be published.
        InputError: a file can't be read, or a row can't become what the model takes.
    """
    what = f"model {asked.model.name} version {asked.model.version}"
    untried = Trial(asked.encoding.complete().outputs, 0)
    batch = _first(night, asked.encoding)
    if batch is None:
        return untried
    answer = _ask(asked, _chosen(batch, rows))
    if answer.trial is not None:
        return answer.trial
    said = answer.missing or answer.fault
    if answer.missing or answer.elsewhere:  # scoring will say so, where it is the same there
        print(
            f"nocturne: {what} can't be tried on this machine: {said}. What it declares of its "
            "outputs counts",
            file=sys.stderr,
        )
        return untried
    raise getattr(errors, answer.error)(
        f"{what} was tried on some rows, and nothing was scored: {said}"
    )


def _first(night: Night, encoding: Encoding) -> pa.RecordBatch | None:
    try:
        return sample(night, encoding, _AMONG)
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


def _ask(asked: Asked, rows: pa.RecordBatch) -> Answer:
    """Start the process, and wait; when this returns, nothing of it runs any more."""
    with tempfile.TemporaryDirectory(prefix="nocturne-trial-") as name:
        folder = Path(name)
        write(folder / ASKED, asked, durable=False)
        with pa.OSFile(str(folder / ROWS), "wb") as file, pa.ipc.new_file(file, rows.schema) as ipc:
            ipc.write_batch(rows)
        with open(folder / "said", "wb") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "nocturne.trial", name],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that what it starts ends with it
            )
            try:
                fault = _watch(process, folder / READY, asked.seconds, _free())
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if fault:
            return Answer(fault=fault)
        if (folder / ANSWER).exists():
            return read(Answer, folder / ANSWER)
        return Answer(fault=_died(process.returncode, folder / "said"))


def _free() -> int:
    """The bytes that a trial may take."""
    return int(_MEMORY * psutil.virtual_memory().available)


def _watch(process: subprocess.Popen[bytes], ready: Path, seconds: float, most: int) -> str:
    """Why it must be ended; "" if it has ended by itself.

    Args:
        ready: is there as soon as the process has begun with the model.
    """
    until, begun = time.monotonic() + _START + seconds, False
    while True:
        try:
            process.wait(_LOOK)
            return ""
        except subprocess.TimeoutExpired:
            pass
        if not begun and ready.exists():
            until, begun = time.monotonic() + seconds, True
        if time.monotonic() > until:
            return (
                f"it has not answered after {seconds:g} seconds. If it needs longer, to be loaded "
                "or for a row, say model.trial_seconds"
            )
        if (used := _memory(process.pid)) > most:
            return (
                f"it took {used >> 20:,} MiB of memory, more than {_MEMORY:.0%} of what was free "
                f"({most >> 20:,} MiB); score it on a machine with more, or log a smaller one"
            )


def _memory(pid: int) -> int:
    """Bytes that a process and its children hold."""
    total = 0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                total += one.memory_info().rss
    return total


def _died(code: int, output: Path) -> str:
    """How the process ended, and the last line that it wrote."""
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    text = output.read_bytes()[-4096:].decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    last = f"; its last line was: {lines[-1][:200]}" if lines else ""
    return (
        f"its process ended {how} before it answered{last}. Load it in a notebook and predict a "
        "few rows to see why"
    )
