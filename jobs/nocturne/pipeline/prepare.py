"""Prepare: resolve the model, plan the partition, write ``run.json``, or refuse clearly."""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from nocturne import drift, plan, profile, publish, quality
from nocturne.columns.fitting import output_schema
from nocturne.columns.normal import normal_schema, packed, plain_type
from nocturne.config import Loaded
from nocturne.config.models import Drift
from nocturne.errors import (
    ConfigError,
    InputError,
    PartitionMissing,
    StateError,
    TerminalError,
    choices,
    did_you_mean,
    disk_errors,
)
from nocturne.host.identity import AIRFLOWS, code
from nocturne.model.encoding import Encoding, is_text
from nocturne.model.requirements import warning
from nocturne.pipeline.doubles import check_size
from nocturne.pipeline.layout import Layout, suite_path
from nocturne.pipeline.model import Resolve, resolver
from nocturne.pipeline.queries import query_files, query_of
from nocturne.pipeline.runs import step, undecide
from nocturne.pipeline.trial import tried
from nocturne.pipeline.tuning import Night, pin
from nocturne.records import (
    STATE_FORMAT,
    Baseline,
    InputFile,
    Manifest,
    Measure,
    Partition,
    Run,
    Split,
    SplitResult,
    Table,
)
from nocturne.source.path_columns import by_options, path_columns
from nocturne.source.spark_files import refuse_untyped
from nocturne.store import state
from nocturne.store.failpoints import reach
from nocturne.store.files import digest
from nocturne.store.record_files import read, write
from nocturne.store.rundir import scored_path

if TYPE_CHECKING:
    from nocturne.spark.application import Application

__all__ = ["Prepared", "prepare", "ready"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """What prepare decided. ``run`` is None for "skip"."""

    action: Literal["score", "nothing", "skip", "dry_run"]
    message: str
    run: Run | None = None
    manifest: Manifest | None = None


def ready(loaded: Loaded, partition: Partition) -> None:
    """Returns if the partition is complete.

    Raises:
        PartitionMissing, NotReady: it is not there, or not yet complete.
    """
    layout, wanted = Layout.of(loaded), loaded.pipeline.input.ready
    folder = layout.input(partition)
    plan.check_ready(
        folder,
        success_file=wanted.success_file,
        min_rows=wanted.min_rows,
        min_age_minutes=wanted.min_age_minutes,
        known=(p.name for p in folder.parent.glob("*=*") if p.is_dir()),
    )


def prepare(
    loaded: Loaded,
    partition: Partition,
    *,
    force: bool = False,
    dry_run: bool = False,
    requeue: bool = False,
    hold: str = "",
    caller: Mapping[str, str] | None = None,
    resolve: Resolve | None = None,
    spark: Application | None = None,
) -> Prepared:
    """Resolve the model and plan the partition; writes ``run.json`` unless it is a dry run.

    Args:
        force: score again although the same scores are published.
        requeue: score the splits with quarantined rows again, and take the others over.
        hold: why a person must look at it before it is published.
        caller: versions of what asks for it: see ``Run``.
        resolve: gives the model; for a range, so that its nights have one.
        spark: tries a model that this machine can't; None: an application of its own, if Spark's
            workers are on other machines.

    Raises:
        NocturneError: anything that stands against scoring, before a row is scored.
    """
    layout = Layout.of(loaded)
    caller = dict(caller or {})
    skew = _skew(loaded, caller)
    try:
        ready(loaded, partition)
    except PartitionMissing as error:
        if loaded.pipeline.input.on_missing == "skip":
            return Prepared("skip", f"skipped, as input.on_missing says: {error}")
        raise
    layout.prepare()
    try:
        with disk_errors():
            resolve = resolve or resolver(loaded)
            wanted = _Wanted(force, dry_run, requeue, hold, caller)
            planned = _plan(loaded, partition, layout, wanted, resolve, spark)
            return replace(planned, message=planned.message + skew + _unmet(planned.run))
    except TerminalError as error:
        if not dry_run:
            with suppress(OSError):
                state.refused(layout.partition_state(partition), str(error))
        raise


def _skew(loaded: Loaded, caller: Mapping[str, str]) -> str:
    """What to say where Airflow's Nocturne is not this one; "" if it is.

    Raises:
        ConfigError: it is not, and schedule.on_skew is fail.
    """
    theirs = caller.get(AIRFLOWS, code())
    if theirs == code():
        return ""
    said = (
        f"Airflow has nocturne {theirs} (bundle {caller.get('bundle')!r} at "
        f"{caller.get('bundle_version') or 'no version'}), the jobs have {code()} in "
        f"{sys.executable}; install the same in both"
    )
    if loaded.pipeline.schedule.on_skew == "fail":
        raise ConfigError(f"{said}, or set schedule.on_skew: warn. Nothing was done.")
    return f"\nWARNING: {said}"


def _unmet(run: Run | None) -> str:
    """What to say where the model was logged with other packages than are here; "" if not."""
    if run is None:
        return ""
    said = warning(run.model.path, f"model {run.model.name} version {run.model.version}")
    return f"\n{said}" if said else ""


@dataclass(frozen=True)
class _Wanted:
    """What is special about this time."""

    force: bool
    dry_run: bool
    requeue: bool
    hold: str
    caller: dict[str, str]


def _plan(
    loaded: Loaded,
    partition: Partition,
    layout: Layout,
    wanted: _Wanted,
    resolve: Resolve,
    spark: Application | None,
) -> Prepared:
    pipeline = loaded.pipeline
    suites = _suites(loaded)
    folder, state_dir = layout.input(partition), layout.partition_state(partition)
    current = publish.current(state_dir, layout.output(partition))
    if current is not None and current.pipeline != pipeline.name:
        raise ConfigError(
            f"{layout.output(partition)} was published by the pipeline {current.pipeline!r}; two "
            f"pipelines can't share an output. Give {pipeline.name!r} an output.path of its own"
        )
    resolved = resolve()
    encoding = resolved.with_outputs(pipeline.model.outputs)
    query = query_of(loaded, partition)
    columns = (*pipeline.output.keys, *pipeline.output.passthrough)
    scoring = pipeline.scoring
    if query is None:
        files = plan.fingerprints(folder, state_dir / "fingerprints.json")
    else:
        files = query_files(query, folder, state_dir)
    known = query is None or (query.sql is None and query.format == "parquet")
    tables: dict[str, Table] = {}
    expected = (
        sorted(quality.columns(quality.load_suite(suites["input"]))) if "input" in suites else []
    )
    path_keys = _path_keys(loaded, partition, files, {*encoding.columns, *columns, *expected})
    names = [file.path for file in files]
    given = path_columns(partition, pipeline.input.partition, names, path_keys)
    types, asked = pa.schema([]), list[str]()
    if known:  # what a query gives, Spark says when it scores
        counted = query is None and pipeline.quality.scan == "none"
        asked = expected if counted else []
        schema, types = plan.check_schema(
            folder,
            files,
            encoding,
            columns,
            asked,
            told=pipeline.input.cast,
            cast_text=pipeline.input.cast_text,
            unique=pipeline.output.keys if pipeline.quality.unique_keys else (),
            given=given,
        )
        if query is not None:
            refuse_untyped(map(folder.joinpath, names), {*encoding.columns, *columns})
    paths = [folder / file.path for file in files] if known else []
    rows = sum(file.rows for file in files) if known else 0
    checksums = pipeline.input.checksums
    night = Night(paths, rows, pipeline.input.cast, checksums, given)
    encoding = tried(loaded, resolved, encoding, layout.state, night, spark)
    _show_predictions(pipeline.quality.sensitive, encoding)
    if known:
        _check_sensitive(pipeline.quality.sensitive, schema.names)
        written = normal_schema(output_schema(encoding, schema, columns))
        tables = _tables(suites, normal_schema(schema), written, counted)
    if "input" in suites and known and pipeline.quality.on_failure == "fail":
        _refuse_early(suites["input"], paths, pipeline.quality.sensitive)
    pinned = pin(
        scoring,
        resolved.ref,
        encoding,
        layout.state,
        night,
        costly=pipeline.model.calls == "costly",
    )
    from_elsewhere = (
        plan.given_types(folder, files, types, {*encoding.columns, *columns, *asked}, given)
        if query is None
        else {}
    )
    keys, passthrough = tuple(pipeline.output.keys), tuple(pipeline.output.passthrough)

    if query is None:
        pieces = plan.cut(
            folder, files, max_rows=scoring.split_rows, max_bytes=scoring.split_mb << 20
        )
    else:
        pieces = plan.query_pieces(files, query, given)

    def keyed(salt: str = "") -> tuple[Split, ...]:
        model = resolved.ref
        cast = pipeline.input.cast
        return plan.split_keys(
            pieces, model, encoding, pinned, keys, passthrough, salt, cast, from_elsewhere
        )

    splits = keyed()
    content_key = plan.run_key(splits)
    same = current is not None and current.content_key == content_key
    lost = same and current is not None and not publish.intact(current, layout.output(partition))
    if wanted.requeue:
        if current is None or not same or lost:
            raise _not_as_it_was(pipeline.name, partition, current)
        if not current.quarantine:
            said = f"{pipeline.name} {partition.key}: no row of it is quarantined; nothing to do"
            return Prepared("nothing", said, None, current)
        splits = _requeued(read(Run, publish.run_folder(state_dir, current) / "run.json"), current)
    elif current is not None and (
        wanted.force or lost or (not same and _was_published(state_dir, current, content_key))
    ):
        # A published file's name is never given to other bytes: not even where they would be
        # made of the same, as after a rollback.
        splits = keyed(f"again after {current.id}")
    run_key = plan.run_key(splits)
    centers = _centers(encoding, resolved.baseline)
    run = Run(
        format=STATE_FORMAT,
        pipeline=pipeline.name,
        partition=partition,
        run_key=run_key,
        content_key=content_key,
        run_dir=str(layout.run(partition, run_key)),
        input_dir=str(folder),
        output_dir=str(layout.output(partition)),
        state_dir=str(state_dir),
        model=resolved.ref,
        encoding=asdict(encoding),
        pinned=pinned,
        keys=keys,
        passthrough=passthrough,
        files=files,
        splits=splits,
        profile_centers=centers,
        based_on=current.id if current else None,
        config_digest=digest(pipeline.model_dump(mode="json")),
        config=pipeline.model_dump(mode="json"),
        created=state.now(),
        query=query,
        cast_text=pipeline.input.cast_text,
        tables=tables,
        unique_keys=pipeline.quality.unique_keys,
        segments=_segments(pipeline.drift, resolved.baseline, centers),
        hold=wanted.hold,
        caller=wanted.caller,
        output_version=plan.OUTPUT_VERSION,
        types=packed(types) if len(types) else "",
        path_keys=path_keys,
    )
    if run.unique_keys:
        check_size(pipeline.name, run.rows)
    size = f"{run.rows} rows in {len(splits)} splits" if query is None else f"{len(files)} files"
    what = (
        f"{pipeline.name} {partition.key}: {size}, model "
        f"{run.model.name} version {run.model.version} ({run.model.selector}), run key "
        f"{run_key[:16]}"
    )
    if lost:
        what += "; published files are missing or damaged, so it is scored again"
    if current is not None and same and not lost and not (wanted.force or wanted.requeue):
        if not wanted.dry_run:
            publish.settle(state_dir, layout.output(partition), pipeline.output.keep)
            state.clear(state_dir, current.run_key)
        said = f"{what}: already published as manifest {current.id}; nothing to do"
        return Prepared("nothing", said, run, current)
    publish.check_target(state_dir, layout.output(partition))
    if wanted.dry_run:
        replaced = f"would replace manifest {current.id}" if current else "would be published"
        return Prepared("dry_run", f"{what}: {replaced}; dry run, nothing was scored", run, current)
    reach("prepare.planned")
    _drop_orphans(run)
    undecide(run)
    write(Path(run.run_dir) / "run.json", run)
    reused = publish.reuse(run, current) if current else 0
    if reused:
        what += f"; {reused} unchanged splits are taken over from manifest {run.based_on}"
    with step("prepare", run):
        return Prepared("score", what, run, current)


def _path_keys(
    loaded: Loaded, partition: Partition, files: Sequence[InputFile], names: Collection[str]
) -> tuple[str, ...]:
    """The keys of the files' paths that are read as columns ``names``.

    With SQL, and with options that say what becomes a column, Spark decides.

    Raises:
        ConfigError: one of them is sensitive, and the folders' names are shown.
    """
    wanted = loaded.pipeline.input
    if wanted.sql is not None or by_options(wanted.options):
        return ()
    folder = Layout.of(loaded).input(partition)
    parquet = wanted.format == "parquet"
    found = plan.keys_as_columns(folder, files, partition, names, parquet=parquet)
    if shown := sorted(set(found).intersection(loaded.pipeline.quality.sensitive)):
        raise ConfigError(
            f"quality.sensitive names {choices(shown)}, a key of the input's folders: their names "
            "are in reports, quarantine and manifests. Take it out, or have the folders named "
            "otherwise"
        )
    return found


def _was_published(state_dir: Path, current: Manifest, run_key: str) -> bool:
    """Also where an earlier manifest can't be read: it may have been."""
    line, broken = publish.known_lineage(state_dir, current)
    return broken is not None or run_key in {m.run_key for m in line}


def _requeued(run: Run, current: Manifest) -> tuple[Split, ...]:
    """The splits of the published run; those with quarantined rows have other keys."""
    bad = {file.split for file in current.quarantine}
    return tuple(
        replace(split, key=digest(split.key, f"requeued after {current.id}"))
        if split.key in bad
        else split
        for split in run.splits
    )


def _not_as_it_was(name: str, partition: Partition, current: Manifest | None) -> StateError:
    if current is None:
        return StateError(f"{name} {partition.key} is not published: nothing to requeue")
    return StateError(
        f"{name} {partition.key}: the input, the model or the settings are not those of manifest "
        f"{current.id} any more, or its files were lost. `nocturne score {name} --date "
        f"{partition.key}` scores all that changed, its quarantined rows too"
    )


def _suites(loaded: Loaded) -> dict[str, Path]:
    quality = loaded.pipeline.quality
    named = {"input": quality.input_suite, "output": quality.output_suite}
    return {side: suite_path(loaded, name) for side, name in named.items() if name}


def _refuse_early(suite: Path, files: Sequence[Path], sensitive: Sequence[str]) -> None:
    failed = quality.failed_for_certain(suite, files, sensitive)
    if failed:
        raise InputError(
            f"{len(failed)} expectations of {suite.name} fail, as the Parquet footers say already; "
            "nothing was scored:\n  " + "\n  ".join(failed)
        )


def _show_predictions(sensitive: Sequence[str], encoding: Encoding) -> None:
    """Raises: ConfigError if predictions are to be shown nowhere: it is them that a night shows."""
    if named := {output.name for output in encoding.outputs}.intersection(sensitive):
        raise ConfigError(
            f"quality.sensitive names {choices(named)}, which the model predicts; expected columns "
            "of the input. Reports, MLflow and manifests tell how predictions are distributed, and "
            "a night is judged by that: take it out"
        )


def _check_sensitive(named: Sequence[str], there: Sequence[str]) -> None:
    """Raises: ConfigError if a name is no column's, and so keeps no value from being shown."""
    unknown = [f"{name!r}{did_you_mean(name, there)}" for name in named if name not in there]
    if unknown:
        raise ConfigError(
            f"quality.sensitive names {', '.join(unknown)}, which the input lacks; it has the "
            f"columns {choices(there, 40)}"
        )


def _tables(
    suites: Mapping[str, Path], source: pa.Schema, written: pa.Schema, counted: bool
) -> dict[str, Table]:
    """What is counted of the input and of the scores; nothing where the files are read again.

    Raises:
        ConfigError: what is wrong with the suites, all of it.
    """
    tables, wrong = {}, list[str]()
    for side, path in suites.items():
        schema = source if side == "input" else written
        try:
            quality.check_columns(path, schema.names)
            if counted:
                measures = quality.measures_of(path, schema)
                _try(path, measures, schema)
                tables[side] = Table(packed(schema), measures)
        except ConfigError as error:
            wrong.append(str(error))
    if wrong:
        raise ConfigError("\n".join(wrong))
    return tables


def _blank(type_: pa.DataType) -> pa.Array:
    try:
        return pa.array([""] if is_text(plain_type(type_)) else [0]).cast(plain_type(type_))
    except pa.ArrowException:  # of a nested column, which no measure takes
        return pa.nulls(1, type_)


def _try(path: Path, measures: Sequence[Measure], schema: pa.Schema) -> None:
    """Count a row of zeros and empty text: this finds what can't be compared or is no regex."""
    row = [_blank(field.type) for field in schema]
    blank = pa.RecordBatch.from_arrays(row, names=schema.names)
    for measure in measures:
        try:
            profile.Measurer([measure]).update(blank)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise ConfigError(
                f"{path}: {measure.rule or measure.kind} on {', '.join(measure.columns)} with "
                f"{measure.args} can't be counted: {error}. (Regular expressions are RE2's, which "
                "have no look-around and no back-references.) quality.scan: pandas counts with "
                "Python's"
            ) from None


_WORDS = ("string", "bool", "boolean")
_UNCOUNTED = ("binary", "datetime")
_COUNTED = ("float32", "float64", "int64", *_WORDS)
"""Of outputs."""


def _centers(encoding: Encoding, baseline: Baseline | None) -> dict[str, float | int | None]:
    """What the workers profile: features and outputs; a centre for numbers, None for words.

    The baseline says it for its own columns, so that both are counted in the same buckets.
    """
    found: dict[str, float | int | None] = {}
    for tensor, feature in encoding.features():
        listed = tensor.encoder in ("list", "mask") or feature.type.startswith("array")
        if not listed and feature.type not in _UNCOUNTED:
            word = tensor.encoder in ("category", "text") or feature.type in _WORDS
            found[feature.column] = None if word else 0.0
    for output in (o for o in encoding.outputs if not o.length and o.type in _COUNTED):
        found[output.name] = None if output.type in _WORDS else 0.0
    for name, column in (baseline.columns if baseline else {}).items():
        if name in found:
            found[name] = column.center if column.kind == "numeric" else None
    return found


def _segments(
    wanted: Drift, baseline: Baseline | None, counted: Mapping[str, float | int | None]
) -> dict[str, tuple[str, ...]]:
    """Of each column in ``drift.segments`` the values that training has most of."""
    if baseline is None and wanted.baseline == "model":
        return {}  # there is no drift at all, as the report says
    words = {
        name: column.profile
        for name, column in (baseline.columns if baseline else {}).items()
        if column.profile is not None and counted.get(name, 0.0) is None
    }
    if unknown := [name for name in wanted.segments if name not in words]:
        raise ConfigError(
            f"drift.segments names {choices(unknown)}; expected features that are categories in "
            f"the model's own baseline ({choices(words) or 'it has none'})"
        )
    return {name: drift.segment_values(words[name]) for name in wanted.segments}


def _drop_orphans(run: Run) -> None:
    """Results that are damaged, or whose attempt file is gone (a cleaned-up run), don't count.

    Nor do those of a split without a score of which the model may be the cause: what it lacked may
    be there now.
    """
    for path in (Path(run.run_dir) / "results").glob("*.json"):
        try:
            result = read(SplitResult, path)
        except StateError:
            log.warning("%s is damaged; its split is scored again", path)
        else:
            there = (Path(run.run_dir) / "attempts" / result.file).is_file()
            if there and (result.rows_out or not result.by_model):
                continue
        path.unlink()
        if run.query is not None:
            scored_path(run).unlink(missing_ok=True)  # a query is scored whole
