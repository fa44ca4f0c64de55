"""A model as it was handed in, and how it becomes a logged model that was compared with it."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import mlflow
import pyarrow as pa

from nocturne.codec import dump
from nocturne.contract.added import added, fetch_logged, require_unregistered
from nocturne.contract.baseline import baseline as make_baseline
from nocturne.contract.baseline import predict
from nocturne.contract.comparing import largest_difference
from nocturne.contract.encodings import as_scored
from nocturne.contract.versions import digest_logged, register_files, require_no_prompt
from nocturne.encoding import ENCODING_FILE, MODEL_VERSION, Encoding, OutputSpec
from nocturne.engine import Model, check_outputs, encode, require_rows_alone, settle_outputs
from nocturne.engine.refused import refusal_reasons
from nocturne.errors import InputError, ModelError, NocturneError
from nocturne.hiding import redacted
from nocturne.model.artifact import BASELINE_FILE, code_in, mlmodel, require_plain_files
from nocturne.model.copies import tree_digest
from nocturne.model.declared_inputs import DeclaredInputs
from nocturne.model.registry import backend_of
from nocturne.model.requirements import load_error
from nocturne.records.drift import Baseline
from nocturne.worker.scoring import BACKENDS

__all__ = ["HandedIn", "LoggedModel", "log_handed_in", "settled"]

_TRIED = 64
"""Rows that say the types of the outputs, as many as a night tries a model on."""


@dataclass(frozen=True)
class HandedIn:
    """A model that is to be registered.

    Attributes:
        kind: what it is, in words.
        takes: the inputs that it declares itself.
        load: the model as it was handed in, for an encoding whose outputs may still be open.
        log: logs it as a logged model that has been made for it.
        check: compares the tensors that the encoding makes with those that it takes.
        outputs: those that it declares, which need not have a name or a type.
        own: the encoding that it brings; None if one is to be logged with it.
        logged: the id of the logged model that it is already; "" if one is to be made.
    """

    kind: str
    takes: DeclaredInputs
    load: Callable[[Encoding], Model]
    log: Callable[[Encoding, pa.Table, mlflow.entities.LoggedModel], object]
    check: Callable[[Encoding, pa.Table], None] = lambda encoding, data: None
    outputs: tuple[OutputSpec, ...] = ()
    own: Encoding | None = None
    logged: str = ""


@dataclass(frozen=True)
class LoggedModel:
    """A logged model that gives what was handed in; ``version`` is None if it is not registered.

    Attributes:
        sha256: the digest of its files; "" if it is not registered.
        difference: the largest one between its outputs on the training data and those of the model
            that was handed in.
        code: why loading it may run code, so that its pipeline needs ``model.allow_pickle``; "" if
            it is data.
    """

    model_id: str
    model_uri: str
    baseline: Baseline
    encoding: Encoding
    name: str | None = None
    version: int | None = None
    sha256: str = ""
    difference: float = 0.0
    code: str = ""


def settled(handed: HandedIn, encoding: Encoding, data: pa.Table) -> Encoding:
    """The encoding; outputs without a name or a type have those that the model gives some rows.

    Raises:
        InputError: the data or the model do not fit the encoding, or none of these rows has all
            that the model needs.
        ModelError: it raises, or returns other outputs.
    """
    batch = _first_rows(data, encoding)
    handed.check(encoding, data)
    try:
        raw = handed.load(encoding).predict(encode(batch, encoding))
    except NocturneError:
        raise
    except Exception as error:
        raise ModelError(
            f"{handed.kind} raises on the first rows of the data: "
            f"{redacted(error, batch.to_pydict())}. Are these the columns that it was trained on, "
            "in their order and types?"
        ) from error
    outputs = encoding.outputs
    if outputs and all(output.name and output.type != "any" for output in outputs):
        check_outputs(outputs, raw)
        _require_free_names(handed, outputs)
        return encoding
    outputs = settle_outputs(outputs, raw, firm=False)
    if handed.own is None and all(output.type == "any" for output in encoding.outputs):
        # What is float32 stays so: without a word, a trial takes float64, which holds more.
        narrow = [replace(o, type="float32" if o.type == "float64" else o.type) for o in outputs]
        outputs = settle_outputs(narrow, raw, firm=False)
    for output in outputs:
        if problem := output.problem():
            raise ModelError(f"output {output.name!r}: {problem}")
    _require_free_names(handed, outputs)
    return replace(encoding, outputs=outputs)


def _require_free_names(handed: HandedIn, outputs: Sequence[OutputSpec]) -> None:
    """Of a model with an encoding of its own, a pipeline may leave an output out."""
    taken = [o.name for o in outputs if o.name.lower() == MODEL_VERSION]  # Spark ignores case
    if taken and handed.own is None:
        raise ModelError(
            f"the output {taken[0]!r} has the name of a column that Nocturne publishes beside the "
            "outputs; give it another one"
        )


def _first_rows(data: pa.Table, encoding: Encoding) -> pa.RecordBatch:
    first = as_scored(data.slice(0, _TRIED), encoding)
    [batch, *_] = first.combine_chunks().to_batches()
    if (why := refusal_reasons(batch, encoding)) is None:
        return batch
    if why.null_count:
        return batch.filter(why.is_null())
    raise InputError(
        f"the model can take none of the first {batch.num_rows} rows of the data: {why[0]}. Give "
        "rows that have all that it needs, or another encoding"
    )


def log_handed_in(
    handed: HandedIn,
    encoding: Encoding,
    data: pa.Table,
    *,
    name: str,
    allow_pickle: bool,
    partitions: Sequence[str] | None = None,
    importance: Mapping[str, float] | None = None,
    segments: Sequence[str] = (),
    registered_model_name: str | None = None,
    tags: Mapping[str, str] | None = None,
    check: Callable[[Path], None] = lambda folder: None,
) -> LoggedModel:
    """Log a model with its encoding and baseline, compare it with what was handed in, register it.

    It is loaded as a night loads it, and scores the data. If anything fails before it is
    registered, the logged model is deleted, unless it was handed in as such.

    Args:
        allow_pickle: whether the logged model may be code.
        check: is given the files as they will be registered, and may raise.

    Raises:
        InputError: the data do not fit the encoding.
        ModelError: it can't score the data, can't be logged, is code, or gives other outputs once
            it is logged.
    """
    if registered_model_name:
        require_no_prompt(registered_model_name)
    before = _scores(handed.load(encoding), encoding, data, handed.kind)
    model_id = handed.logged
    if not model_id:  # before its files, so that it is known if they can't be uploaded
        made = mlflow.initialize_logged_model(name, params=_params_of_run())
        model_id = made.model_id
    uri, what = f"models:/{model_id}", f"the model {name!r}, once it was logged,"
    with (
        _deleted_on_error(None if handed.logged else model_id),
        tempfile.TemporaryDirectory() as scratch,
    ):
        if not handed.logged:
            handed.log(encoding, data, made)
        folder = fetch_logged(model_id, Path(scratch))
        if handed.own is None:
            (folder / ENCODING_FILE).write_text(encoding.to_json(), encoding="utf-8")
        model, code = _as_a_night_loads(folder, encoding, name, allow_pickle)
        require_rows_alone(model, encode(_first_rows(data, encoding), encoding))
        after = _scores(model, encoding, data, what)
        difference = largest_difference(before, after)
        built = make_baseline(
            data,
            after,
            partitions=partitions,
            encoding=encoding,
            importance=importance,
            segments=segments,
        )
        (folder / BASELINE_FILE).write_text(dump(built), encoding="utf-8")
        check(folder)
        require_unregistered(model_id)  # by somebody else, while it scored
        version, sha256 = None, ""
        with added(model_id, encoding if handed.own is None else None, built) as check_alone:
            if registered_model_name:
                if (sha256 := digest_logged(model_id)) != tree_digest(folder):
                    raise ModelError(
                        f"{what} has other files now than those that were compared. Does somebody "
                        f"write to {model_id}, or does the artifact store change files?"
                    )
                check_alone()
                version = register_files(model_id, registered_model_name, sha256, tags)
    return LoggedModel(
        model_id=model_id,
        model_uri=uri,
        baseline=built,
        encoding=encoding,
        name=registered_model_name,
        version=None if version is None else int(version.version),
        sha256=sha256,
        difference=difference,
        code=code,
    )


def _scores(model: Model, encoding: Encoding, data: pa.Table, what: str) -> pa.Table:
    try:
        return predict(model, encoding, data)
    except ModelError as error:
        raise ModelError(
            f"{what} can't score its own training data: {error} It must take any number of rows "
            "(no shape taken from an example), and return one value a row for each output of the "
            "encoding"
        ) from error


def _as_a_night_loads(
    folder: Path, encoding: Encoding, name: str, allow_pickle: bool
) -> tuple[Model, str]:
    """The model, and why loading it may run code; "" if it can't."""
    what = f"the model {name!r}"
    require_plain_files(folder, what)
    backend = backend_of(folder, what, allow_pickle)
    if (spec := folder / ENCODING_FILE).is_file():
        encoding = Encoding.from_json(spec.read_bytes())
    try:
        model = BACKENDS[backend](str(folder), encoding)
    except NocturneError:
        raise
    except Exception as error:
        raise load_error(folder, error) from error
    code = "; ".join(
        f"{file}: {why}" for file, why in code_in(folder, mlmodel(folder, what)).items()
    )
    if code:
        warnings.warn(
            f"{what} is loaded by a pipeline with `model.allow_pickle: true` only, and where its "
            f"libraries are installed: {code}",
            stacklevel=4,
        )
    return model, code


def _params_of_run() -> dict[str, str]:
    """What MLflow gives a model that it makes itself."""
    run = mlflow.active_run()
    return dict(mlflow.get_run(run.info.run_id).data.params) if run else {}


@contextmanager
def _deleted_on_error(model_id: str | None) -> Iterator[None]:
    try:
        yield
    except BaseException:
        if model_id is not None:
            with suppress(Exception):  # the error that comes first is the one to be told
                require_unregistered(model_id)  # an answer of the registry may be lost
                mlflow.MlflowClient().delete_logged_model(model_id)
        raise
