"""The engine for notebooks and other people's jobs: a registered model as a Spark column."""

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

    Called without arguments it takes the columns of the model's encoding by name; else it takes
    columns in the order of ``columns`` (an attribute of what is returned: the names, in backticks
    where Spark would take a dot for a field). The value is the
    model's output, post-processed, or a struct of its outputs if it has several. It is an Arrow
    UDF over an iterator of batches: no pandas on the way.

    A query's columns have their types before it has a row, so the model is not tried, as a
    pipeline tries it: names and types of the outputs are as the model declares them, or
    ``outputs`` does (``double``, where neither says one). A row without a prediction is null, and
    so is a prediction that its type can't hold, a fraction of ``long`` or a text of ``double``:
    it is never cut, though ``float`` rounds a double. Where not one row of the first batch of a
    partition fits its type, the query fails, and says what to write in ``outputs``. Of several
    outputs all but the first may be null by themselves. Times with a zone are in UTC for a
    ``datetime``, which has none.

    What a pipeline would refuse of a column's type, it refuses too (docs/pipeline.md): Spark's
    ``timestamp`` where the session's zone is not UTC, a decimal for a float, unless ``cast`` says
    what the model is to see.

    The model's files go to the workers with ``SparkContext.addFile``, so it works on a cluster.

    Args:
        model_uri: ``models:/name@alias`` or ``models:/name/3``, resolved now, once.
        tracking_uri: of MLflow. Default: MLflow's current one.
        registry_uri: where models are registered. Default: MLFLOW_REGISTRY_URI, else
            ``tracking_uri``; without that one, MLflow's current registry.
        allow_pickle: load artifacts that run code when they are loaded.
        cast: column -> what the model sees of it, as ``input.cast`` of a pipeline: ``local``,
            ``double`` ...
        inputs, params: what the model is given, as ``model.inputs`` and ``model.params`` of a
            pipeline.
        outputs: name -> type of what the model gives, as ``model.outputs`` of a pipeline, for a
            model that does not declare it, or not rightly.
        device, precision: where and how the model runs: ``cpu | cuda``, ``float32 | bfloat16``.
        micro_batch: rows through the model at once.

    Raises:
        ConfigError: ``model_uri`` is neither; the model takes no such ``inputs`` or ``params``; or
            ``outputs`` has a word that is no type, or an encoding spec says them.
        ModelError: there is no such model, or it can't be scored. In the query that uses it: it
            can't be loaded, lacks a package, or returns what is not declared.
        InputError: in the query that uses it: a column's type does not fit the model.
    """
    import mlflow
    from pyspark.sql.functions import arrow_udf
    from pyspark.sql.pandas.types import from_arrow_type
    from pyspark.sql.types import StructField, StructType

    found = _URI.fullmatch(model_uri)
    if found is None:
        raise ConfigError(f"got {model_uri!r}, expected models:/NAME@ALIAS or models:/NAME/VERSION")
    store = Path(tempfile.mkdtemp(prefix="nocturne-model-"))
    atexit.register(shutil.rmtree, store, ignore_errors=True)  # Spark serves it until then
    model = resolve(
        name=found["name"],
        alias=found["alias"],
        tags=None,
        version=int(found["version"]) if found["version"] else None,
        allow_pickle=allow_pickle,
        tracking_uri=tracking_uri or mlflow.get_tracking_uri(),
        registry_uri=registry_uri
        or os.environ.get("MLFLOW_REGISTRY_URI")
        or tracking_uri
        or mlflow.get_registry_uri(),
        store=store,
        inputs=inputs,
        params=params,
    )
    encoding, ref = model.with_outputs(outputs or {}).complete(), model.ref
    encoding = replace(encoding, outputs=with_nulls(encoding.outputs))
    # A name of its own each time: Spark refuses another file of a name that it has.
    archive = store / f"{store.name}-{ref.sha256[:16]}.zip"
    with zipfile.ZipFile(archive, "w", strict_timestamps=False) as packed:
        for path in sorted(Path(ref.path).rglob("*")):
            packed.write(path, Path("model") / path.relative_to(ref.path))
    spark.sparkContext.addFile(str(archive))
    columns = list(encoding.columns)
    given = [(o.name, from_arrow_type(o.arrow_type)) for o in encoding.outputs]
    kind: Any = StructType([StructField(*o) for o in given]) if len(given) > 1 else given[0][1]
    settings = {"device": device, "precision": precision}
    name, spec, backend, told = archive.name, encoding.to_json(), ref.backend, dict(cast or {})

    def scored(batches: Iterator[tuple[pa.Array, ...]]) -> Iterator[pa.Array]:
        records = (pa.RecordBatch.from_arrays(list(b), names=columns) for b in batches)
        yield from _score(name, spec, backend, settings, told, micro_batch, records)

    def alone(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        yield from scored((batch,) for batch in batches)

    taken, batch = (scored, tuple[pa.Array, ...]) if len(columns) > 1 else (alone, pa.Array)
    taken.__annotations__ = {"batches": Iterator[batch], "return": Iterator[pa.Array]}  # type: ignore[valid-type]
    udf = arrow_udf(taken, kind)

    def column(*arguments: Any) -> Column:
        if arguments and len(arguments) != len(columns):
            raise ConfigError(
                f"got {len(arguments)} columns, the model takes {len(columns)}: "
                f"{', '.join(columns)}; call it without arguments to take them by name"
            )
        made: Column = udf(*(arguments or map(_quoted, columns)))
        return made

    column.columns = [*map(_quoted, columns)]  # type: ignore[attr-defined]
    return column


def _quoted(name: str) -> str:
    """A column's name as Spark takes it, whatever is in it: a dot would ask for a field."""
    return name if re.fullmatch("[^.`*]+", name) else "`" + name.replace("`", "``") + "`"


def _score(
    archive: str,
    spec: str,
    backend: str,
    settings: dict[str, str],
    told: dict[str, str],
    micro_batch: int,
    batches: Iterator[pa.RecordBatch],
) -> Iterator[pa.Array]:
    """In a Python worker: predictions, null where a row has none."""
    from nocturne.engine import score_cast
    from nocturne.spark.untried import untried

    first = next(batches, None)
    if first is None:
        return
    encoding = Encoding.from_json(spec)
    if problems := check_columns(encoding, first.schema, told):
        raise InputError(
            "what score_udf is given does not fit the model:\n  "
            + "\n  ".join(problems)
            + "\ninput.cast is score_udf's argument here: cast={column: ...}",
            problems=problems,
        )
    wanted = casts(encoding, first.schema, told)
    loaded = _loaded(archive, spec, backend, tuple(sorted(settings.items())))
    model = untried(loaded, encoding.outputs)
    read = map(normal, chain([first], batches))
    with import_errors(_folder(archive), "run the query again"):
        scored = score_cast(read, model, encoding, wanted, micro_batch=micro_batch)
        try:
            for _, _, done in scored:
                model.check(done)
                yield _values(done, encoding)
        except ModelError as error:
            raise model.explained(error) from None


def _values(done: pa.RecordBatch, encoding: Encoding) -> pa.Array:
    """The predictions as one column, null in the rows that have a reason."""
    import pyarrow.compute as pc

    from nocturne.engine import REASON

    lost = done.column(REASON)
    values = [
        v if lost.null_count == len(v) else pc.if_else(lost.is_null(), v, pa.scalar(None, v.type))
        for v in (done.column(output.name) for output in encoding.outputs)
    ]
    names = [output.name for output in encoding.outputs]
    return values[0] if len(values) == 1 else pa.StructArray.from_arrays(values, names)


@lru_cache(maxsize=4)
def _folder(archive: str) -> Path:
    """The model's files, unpacked once a process."""
    from pyspark import SparkFiles

    packed = SparkFiles.get(archive)
    folder = Path(f"{packed}-{os.getpid()}")  # in a folder that Spark deletes at the end
    with zipfile.ZipFile(packed) as files:
        files.extractall(folder)
    return folder / "model"


@lru_cache(maxsize=4)
def _loaded(archive: str, spec: str, backend: str, settings: tuple[tuple[str, str], ...]) -> Any:
    """Loaded once a process; torch with one thread, as its task has one core."""
    import torch

    from nocturne.worker.split import BACKENDS

    torch.set_num_threads(1)
    folder = str(_folder(archive))
    try:
        return BACKENDS[backend](folder, Encoding.from_json(spec), **dict(settings))
    except NocturneError:
        raise
    except Exception as error:
        raise load_error(folder, error) from error
