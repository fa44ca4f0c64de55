"""Scores a query: Spark reads and joins, and the same engine scores under ``mapInArrow``.

The guarantees are weaker than those of splits. There are no row groups, so a partition is scored
again as a whole; quarantine identifies rows by their keys; and tables that the SQL reads, apart
from ``input`` and the declared tables, are in no fingerprint. Spark decides which task attempt
counts: each attempt writes files of its own and returns its result to the driver, which stores the
results of the successful job.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pyarrow as pa

from nocturne.codec import dump, load
from nocturne.columns.normal import normal
from nocturne.errors import InputError, RetryableError
from nocturne.fitting import check_columns, check_output
from nocturne.records.plan import TABLE_MARK, Query
from nocturne.records.result import SplitResult
from nocturne.source.path_columns import of_plan
from nocturne.source.reading import check_unchanged
from nocturne.source.spark_files import read_files, refuse_untyped
from nocturne.spark.session import fault_of_data
from nocturne.spark.work import device_slot, spark_errors
from nocturne.store.run import Run
from nocturne.worker.tasks import as_error, guarded, open_run

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["score_query"]

_SCHEMA = "result string, error string, message string"


def score_query(spark: SparkSession, run: Run, share: float) -> None:
    """Score the rows of the run's query.

    Args:
        share: the share of a GPU's memory that each task may take.

    Raises:
        InputError: the SQL is wrong, a value can't be read or computed, or the result does not
            fit the model.
        InputChanged: a file has changed since planning.
        RetryableError: Spark failed.
        NocturneError: a worker raised it.
    """
    frame = _needed_columns(_frame(spark, run), run)
    advice = "Run the same command again; the partition is scored again as a whole"
    with spark_errors(f"score the query of {run.plan.pipeline}", advice):
        try:
            rows = frame.mapInArrow(partial(_work, run.uri, share), _SCHEMA).collect()
        except Exception as error:
            if fault := fault_of_data(error):
                raise InputError(
                    f"Spark can't score the input of {run.plan.pipeline}: {fault}. Nothing was "
                    "published. Correct the data, input.sql or input.options"
                ) from error
            raise
    for row in rows:
        if row["error"]:
            raise as_error(row["error"], row["message"])
    results = [load(SplitResult, row["result"], "a worker's result") for row in rows]
    if not results:
        raise InputError(
            f"the query of {run.plan.pipeline} gave no row for {run.plan.partition.key}; nothing "
            "was scored. Check input.sql and the tables that it joins"
        )
    _check_unchanged(run)
    _check_rows(run, results)
    run.write_results(sorted(results, key=lambda result: result.index))


def _frame(spark: SparkSession, run: Run) -> DataFrame:
    """The partition, or the SQL over it; parameters such as ``:ds`` are the partition's values.

    Raises:
        InputError: Spark can't read or analyse it.
    """
    query = _query(run)
    try:
        files = _planned(run)
        frame = read_files(
            spark, query.format, query.options, run.plan.input_dir, files, _path_columns(run, files)
        )
        if query.sql is None:
            return frame
        frame.createOrReplaceTempView("input")
        for name, path in query.tables.items():
            table = read_files(spark, "parquet", {}, path, _planned(run, name))
            table.createOrReplaceTempView(name)
        return spark.sql(query.sql, args=dict(run.plan.partition.keys))
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"Spark can't read the input of {run.plan.pipeline} as its YAML says: "
            f"{str(error).splitlines()[0]}. The SQL knows `input`"
            + "".join(f", `{name}`" for name in query.tables)
            + (
                f" and the parameters {', '.join(':' + k for k, _ in run.plan.partition.keys)}"
                if run.plan.partition.keys
                else ""
            )
        ) from error


def _query(run: Run) -> Query:
    assert run.plan.query is not None  # only such runs come here
    return run.plan.query


def _path_columns(run: Run, files: list[str]) -> pa.RecordBatch | None:
    """The columns from the paths of the files. None leaves them to Spark, as for a query's view."""
    no_columns = pa.RecordBatch.from_pydict({})
    return None if _query(run).sql is not None else of_plan(run.plan, files) or no_columns


def _planned(run: Run, table: str = "") -> list[str]:
    """Relative paths of the planned files of the input, or of a table that the SQL names."""
    split = [file.path.rpartition(TABLE_MARK) for file in run.plan.files]
    return [path for name, _, path in split if name == table]


def _needed_columns(frame: DataFrame, run: Run) -> DataFrame:
    """Checks that the columns fit the model, and selects the columns that are needed."""
    from pyspark.sql.pandas.types import to_arrow_schema

    encoding = run.plan.encoding
    # Batches in workers have the session's zone: Spark stores moments without their own zone.
    zone = frame.sparkSession.conf.get("spark.sql.session.timeZone")
    schema = to_arrow_schema(frame.schema, timezone=zone)
    needed = (*run.plan.keys, *run.plan.passthrough)
    problems = check_columns(encoding, schema, run.plan.cast, cast_text=run.plan.cast_text)
    problems += check_output(
        encoding, schema, needed, run.plan.keys if run.plan.unique_keys else ()
    )
    names = [name for name in run.plan.reads(encoding.columns) if name in schema.names]
    problems += [
        f"column {name!r} has no type (void), since all its values are null; say one: "
        f"CAST(NULL AS STRING) AS {name}"
        for name in names
        if pa.types.is_null(schema.field(name).type)
    ]
    if problems:
        raise InputError(
            f"what Spark reads for {run.plan.pipeline} does not fit the model:\n  "
            + "\n  ".join(problems)
            + f"\nIt has the columns {', '.join(schema.names)}. Correct input.sql or the data",
            problems=problems,
        )
    selected = frame.select(*(f"`{name}`" for name in names))
    _refuse_untyped(selected)
    return selected


def _refuse_untyped(frame: DataFrame) -> None:
    """Check the types of the columns of files that Spark will read. (Without SQL, the plan does.)

    Raises:
        InputError: a file has no type for a column.
    """
    leaves = frame._jdf.queryExecution().sparkPlan().collectLeaves()
    for leaf in (leaves.apply(number) for number in range(leaves.size())):
        if leaf.getClass().getSimpleName() != "FileSourceScanExec":
            continue
        relation = leaf.relation()
        if relation.fileFormat().toString() == "Parquet":
            names = list(leaf.requiredSchema().fieldNames())
            for uri in relation.location().inputFiles():
                refuse_untyped([Path(unquote(urlsplit(uri).path))], names)


def _check_unchanged(run: Run) -> None:
    for file in run.plan.files:
        check_unchanged(run.plan.input_file(file.path), file)


def _check_rows(run: Run, results: list[SplitResult]) -> None:
    """Raises: RetryableError if Spark did not return as many rows as the footers of the files."""
    query = _query(run)
    if query.sql is not None or query.format != "parquet" or query.options:
        return  # the YAML may leave rows out
    read, expected = sum(result.rows_in for result in results), sum(f.rows for f in run.plan.files)
    if read != expected:
        raise RetryableError(
            f"Spark gave {read} rows of {run.plan.input_dir}, its files hold {expected}; nothing "
            "was published. Run the same command again"
        )


def _work(
    run_dir: str, share: float, batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Runs in a Python worker: scores the rows of a task as one split."""
    first = next((batch for batch in batches if batch.num_rows), None)
    if first is None:
        return
    result, error, message = guarded(
        lambda: dump(_score(run_dir, share, first, batches)), "the query's rows"
    )
    columns = [pa.array([value], pa.string()) for value in (result, error, message)]
    yield pa.RecordBatch.from_arrays(columns, names=["result", "error", "message"])


def _score(
    run_dir: str, share: float, first: pa.RecordBatch, following: Iterator[pa.RecordBatch]
) -> SplitResult:
    from pyspark import TaskContext

    from nocturne.worker.scoring import score_batches

    run = open_run(run_dir)
    task = TaskContext.get()
    split = replace(run.plan.splits[0], index=task.partitionId() if task else 0)
    batches = map(normal, _sized(first, following, run.plan.pinned.batch_rows))
    return score_batches(
        run, split, batches, first.schema, device_slot(run.plan.pinned.device, share)
    )


def _sized(
    first: pa.RecordBatch, following: Iterator[pa.RecordBatch], rows: int
) -> Iterator[pa.RecordBatch]:
    """Merges Spark's small batches to batches of ``rows`` rows, so that none needs padding."""
    buffered, count = [first], first.num_rows
    for batch in following:
        buffered.append(batch)
        count += batch.num_rows
        while count >= rows:
            table = pa.Table.from_batches(buffered)
            yield from table.slice(0, rows).combine_chunks().to_batches()
            buffered = table.slice(rows).to_batches()
            count -= rows
    if count:
        yield from pa.Table.from_batches(buffered).combine_chunks().to_batches()
