"""A registered model as a Spark column, for notebooks and other jobs."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from nocturne.columns.normal import normal
from nocturne.encoding import Encoding, with_nulls
from nocturne.errors import ConfigError, InputError, ModelError, NocturneError
from nocturne.fitting import casts, check_columns
from nocturne.model.declared_inputs import Inputs
from nocturne.model.registry import resolve
from nocturne.model.requirements import import_errors, load_error

if TYPE_CHECKING:
    from pyspark.sql import Column, SparkSession

__all__ = ["score_udf"]

_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")


def score_udf(
    spark: SparkSession,
    model_uri: str,
    *,
    tracking_uri: str | None = None,
    registry_uri: str | None = None,
    allow_pickle: bool = False,
    require_signature: str | Path | None = None,
    cast: Mapping[str, str] | None = None,
    inputs: Inputs | None = None,
    params: Mapping[str, Any] | None = None,
    outputs: Mapping[str, str] | None = None,
    device: str = "cpu",
    precision: str = "float32",
    micro_batch: int = 1024,
) -> Callable[..., Column]:
    """A registered model as a column, used like ``mlflow.pyfunc.spark_udf``.

    >>> delay = score_udf(spark, "models:/flight_delay@champion")
    >>> flights.withColumn("late", delay())

    Without arguments, the function takes the columns of the model's encoding by name. Otherwise it
    takes columns in the order of its attribute ``columns``: their names, in backticks if Spark
    would read a dot as a field. The value is the model's output after post-processing, or a struct
    if the model has several outputs. It is an Arrow UDF over an iterator of batches, without
    pandas.

    Spark fixes the types of a query before it has a row. So the model is not tried, unlike in a
    pipeline. The names and types of the outputs are those that the model or ``outputs``
    declares; the default is ``double``. A row without a prediction is null. So is a prediction
    that its type can't hold, such as a fraction for ``long`` or a text for ``double``: values are
    never truncated, though ``float`` rounds a double. If no row of the first batch of a partition
    fits its type, the query fails with a message that says what to write in ``outputs``. If there
    are several outputs, all but the first may be null by themselves. Times with a zone are
    converted to UTC for a ``datetime``, which has no zone.

    It refuses the same column types as a pipeline (docs/pipeline.md), such as Spark's
    ``timestamp`` if the session's time zone is not UTC, or a decimal for a float, unless ``cast``
    declares the type for the model.

    ``SparkContext.addFile`` distributes the model's files, so it works on a cluster.

    Args:
        model_uri: ``models:/name@alias`` or ``models:/name/3``; it is resolved once, now.
        tracking_uri: the tracking URI of MLflow. Default: MLflow's current one.
        registry_uri: the URI of the model registry. Default: MLFLOW_REGISTRY_URI, else
            ``tracking_uri``, else MLflow's current registry.
        allow_pickle: load artifacts that run code when they are loaded.
        require_signature: the file of a public key: refuse a version that is not signed with its
            private key.
        cast: column -> the type for the model, like ``input.cast`` of a pipeline: ``local``,
            ``double`` ...
        inputs, params: like ``model.inputs`` and ``model.params`` of a pipeline.
        outputs: name -> type of the outputs, like ``model.outputs`` of a pipeline, for a model
            that does not declare them, or declares them wrongly.
        device, precision: where and how the model runs: ``cpu | cuda``, ``float32 | bfloat16``.
        micro_batch: the number of rows that go through the model at once.

    Raises:
        ConfigError: ``model_uri`` has another form; the model takes no such ``inputs`` or
            ``params``; ``outputs`` has an unknown type, or an encoding spec declares the outputs.
        ModelError: there is no such model, or it can't be scored. Later, in the query: the model
            can't be loaded, lacks a package, or returns something that is not declared.
        InputError: later, in the query: a column's type does not fit the model.
    """
    import mlflow
    from pyspark.sql.functions import arrow_udf
    from pyspark.sql.pandas.types import from_arrow_type
    from pyspark.sql.types import StructField, StructType

    uri = _URI.fullmatch(model_uri)
    if uri is None:
        raise ConfigError(f"got {model_uri!r}, expected models:/NAME@ALIAS or models:/NAME/VERSION")
    store = Path(tempfile.mkdtemp(prefix="nocturne-model-"))
    # Until then, Spark serves the files to workers.
    atexit.register(shutil.rmtree, store, ignore_errors=True)
    model = resolve(
        name=uri["name"],
        alias=uri["alias"],
        tags=None,
        version=int(uri["version"]) if uri["version"] else None,
        allow_pickle=allow_pickle,
        require_signature=None if require_signature is None else Path(require_signature),
        tracking_uri=tracking_uri or mlflow.get_tracking_uri(),
        registry_uri=registry_uri
        or os.environ.get("MLFLOW_REGISTRY_URI")
        or tracking_uri
        or mlflow.get_registry_uri(),
        models=store,
        inputs=inputs,
        params=params,
    )
    encoding, ref = model.with_outputs(outputs or {}).complete(), model.ref
    encoding = replace(encoding, outputs=with_nulls(encoding.outputs))
    # A new name each time, since Spark refuses a second file of the same name.
    archive = store / f"{store.name}-{ref.sha256[:16]}.zip"
    with zipfile.ZipFile(archive, "w", strict_timestamps=False) as zip_file:
        for path in sorted(Path(ref.path).rglob("*")):
            zip_file.write(path, Path("model") / path.relative_to(ref.path))
    spark.sparkContext.addFile(str(archive))
    columns = list(encoding.columns)
    output_types = [(o.name, from_arrow_type(o.arrow_type)) for o in encoding.outputs]
    return_type: Any = (
        StructType([StructField(*o) for o in output_types])
        if len(output_types) > 1
        else output_types[0][1]
    )
    settings = {"device": device, "precision": precision}
    name, spec, backend, user_cast = archive.name, encoding.to_json(), ref.backend, dict(cast or {})

    # Spark shows the names of these functions, ``scored`` and ``alone``.
    def scored(batches: Iterator[tuple[pa.Array, ...]]) -> Iterator[pa.Array]:
        records = (pa.RecordBatch.from_arrays(list(b), names=columns) for b in batches)
        yield from _score(name, spec, backend, settings, user_cast, micro_batch, records)

    def alone(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        yield from scored((batch,) for batch in batches)

    function, batch = (scored, tuple[pa.Array, ...]) if len(columns) > 1 else (alone, pa.Array)
    function.__annotations__ = {"batches": Iterator[batch], "return": Iterator[pa.Array]}  # type: ignore[valid-type]
    udf = arrow_udf(function, return_type)

    def column(*arguments: Any) -> Column:
        if arguments and len(arguments) != len(columns):
            raise ConfigError(
                f"got {len(arguments)} columns, the model takes {len(columns)}: "
                f"{', '.join(columns)}; call it without arguments to take them by name"
            )
        result: Column = udf(*(arguments or map(_quoted, columns)))
        return result

    column.columns = [*map(_quoted, columns)]  # type: ignore[attr-defined]
    return column


def _quoted(name: str) -> str:
    """A column's name, quoted if needed: Spark would read a dot as a field."""
    return name if re.fullmatch("[^.`*]+", name) else "`" + name.replace("`", "``") + "`"


def _score(
    archive: str,
    spec: str,
    backend: str,
    settings: dict[str, str],
    user_cast: dict[str, str],
    micro_batch: int,
    batches: Iterator[pa.RecordBatch],
) -> Iterator[pa.Array]:
    """Runs in a Python worker: predictions, which are null for rows without one."""
    from nocturne.engine import score_cast
    from nocturne.spark.checked_outputs import with_checked_outputs

    first = next(batches, None)
    if first is None:
        return
    encoding = Encoding.from_json(spec)
    if problems := check_columns(encoding, first.schema, user_cast):
        raise InputError(
            "the columns for score_udf do not fit the model:\n  "
            + "\n  ".join(problems)
            + "\ninput.cast is score_udf's argument here: cast={column: ...}",
            problems=problems,
        )
    targets = casts(encoding, first.schema, user_cast)
    loaded = _loaded(archive, spec, backend, tuple(sorted(settings.items())))
    model = with_checked_outputs(loaded, encoding.outputs)
    normal_batches = map(normal, chain([first], batches))
    with import_errors(_folder(archive), "run the query again"):
        scored = score_cast(normal_batches, model, encoding, targets, micro_batch=micro_batch)
        try:
            for _, _, predictions in scored:
                model.check(predictions)
                yield _values(predictions, encoding)
        except ModelError as error:
            raise model.explained(error) from None


def _values(predictions: pa.RecordBatch, encoding: Encoding) -> pa.Array:
    """The predictions as one column, which is null in rows with a reason."""
    import pyarrow.compute as pc

    from nocturne.engine import REASON

    reasons = predictions.column(REASON)
    values = [
        v
        if reasons.null_count == len(v)
        else pc.if_else(reasons.is_null(), v, pa.scalar(None, v.type))
        for v in (predictions.column(output.name) for output in encoding.outputs)
    ]
    names = [output.name for output in encoding.outputs]
    return values[0] if len(values) == 1 else pa.StructArray.from_arrays(values, names)


@lru_cache(maxsize=4)
def _folder(archive: str) -> Path:
    """The folder of the model's files, which are unpacked once in each process."""
    from pyspark import SparkFiles

    archive_path = SparkFiles.get(archive)
    folder = Path(f"{archive_path}-{os.getpid()}")  # Spark deletes the parent folder at the end
    with zipfile.ZipFile(archive_path) as files:
        files.extractall(folder)
    return folder / "model"


@lru_cache(maxsize=4)
def _loaded(archive: str, spec: str, backend: str, settings: tuple[tuple[str, str], ...]) -> Any:
    """The model, loaded once in each process. Torch gets one thread, since a task has one core."""
    import torch

    from nocturne.worker.scoring import BACKENDS

    torch.set_num_threads(1)
    folder = str(_folder(archive))
    try:
        return BACKENDS[backend](folder, Encoding.from_json(spec), **dict(settings))
    except NocturneError:
        raise
    except Exception as error:
        raise load_error(folder, error) from error
