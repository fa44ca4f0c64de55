"""``nocturne``: the pipeline from a terminal, and its single steps for Airflow.

Exit codes: 0 done; 1 a terminal error (trying again won't help); 3 held for a person;
75 a retryable one; 2 wrong usage. With --json the last line of standard output is one
JSON value; everything meant for people goes to standard error then.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Optional, ParamSpec, TypeVar

import typer

from nocturne import config
from nocturne.errors import ConfigError, NocturneError
from nocturne.stopwatch import Stopwatch

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  help="Batch scoring, published exactly once.")  # fmt: skip
config_app = typer.Typer(no_args_is_help=True, help="Look at the configuration.")
app.add_typer(config_app, name="config")

P = ParamSpec("P")
R = TypeVar("R")

Name = Annotated[str, typer.Argument(metavar="PIPELINE", help="A file in conf/pipelines/.")]
Date = Annotated[str, typer.Option("--date", help="Partition, e.g. 2013-04-01.")]
RunDir = Annotated[Path, typer.Argument(help="The run directory that prepare printed.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Version = Annotated[Optional[int], typer.Option("--model-version", help="Score with this version.")]
Force = Annotated[bool, typer.Option("--force", help="Score again what is published already.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Resolve and plan, score nothing.")]


def _clean_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Our own errors end the command with their message and exit code, not a traceback."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except NocturneError as error:
            print(f"nocturne: {error}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from None

    return wrapped


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _answer(value: Any, as_json: bool) -> None:
    if as_json:
        print(json.dumps(value, ensure_ascii=False), flush=True)


def _load(name: str, version: int | None = None) -> config.Loaded:
    return config.load(name, overrides={"model.version": version})


@app.command()
@_clean_errors
def score(
    name: Name,
    date: Date,
    to: Annotated[Optional[str], typer.Option("--to", help="Last partition of a range.")] = None,
    model_version: Version = None,
    force: Force = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Score a partition, or a range in one Spark application, from plan to publish."""
    from nocturne.pipeline.night import score_range

    loaded = _load(name, model_version)
    nights = list(config.span(loaded.pipeline.input.partition, date, to))
    watch = Stopwatch()
    with watch("in all"):
        done = score_range(loaded, nights, force=force, dry_run=dry_run, say=_say, watch=watch)
    _say("seconds: " + ", ".join(f"{name} {s:.1f}" for name, s in watch.seconds.items()))
    if as_json:
        _answer([night.as_json() for night in done], True)
    else:
        from nocturne.tables import nights_table

        nights_table(name, done)
    code = max((night.exit_code for night in done), default=0)
    if code:
        raise typer.Exit(code)


@app.command()
@_clean_errors
def ready(name: Name, date: Date) -> None:
    """Say whether a partition is complete: exit code 0, or 75 if not yet."""
    from nocturne.errors import NotReady, PartitionMissing
    from nocturne.pipeline import ready as check

    loaded = _load(name)
    partition = config.partition(loaded.pipeline.input.partition, date)
    try:
        check(loaded, partition)
    except PartitionMissing as error:
        raise NotReady(str(error)) from None
    _say(f"{name} {date} is ready")


@app.command()
@_clean_errors
def prepare(
    name: Name,
    date: Date,
    model_version: Version = None,
    force: Force = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Resolve the model and plan a partition; print its run directory."""
    from nocturne.pipeline import prepare as plan_it

    loaded = _load(name, model_version)
    partition = config.partition(loaded.pipeline.input.partition, date)
    prepared = plan_it(loaded, partition, force=force, dry_run=dry_run)
    _say(prepared.message)
    run_dir = prepared.run.run_dir if prepared.run and prepared.action == "score" else None
    _answer({"action": prepared.action, "run_dir": run_dir, "message": prepared.message}, as_json)
    if run_dir and not as_json:
        print(run_dir)


@app.command()
@_clean_errors
def judge(run_dir: RunDir, as_json: AsJson = False) -> None:
    """Check quality and drift of a scored run; write its report."""
    from nocturne.pipeline import open_run
    from nocturne.pipeline.judging import judge as judge_it

    judgement = judge_it(open_run(run_dir))
    _say(f"verdict {judgement.verdict}" + "".join(f"\n  {r}" for r in judgement.reasons))
    _say(f"report {judgement.report}")
    answer = {"verdict": judgement.verdict, "reasons": list(judgement.reasons),
              "report": judgement.report, "run_dir": str(run_dir)}  # fmt: skip
    _answer(answer, as_json)


@app.command()
@_clean_errors
def gate(run_dir: RunDir) -> None:
    """Let a judged run pass, or say why not: exit code 3 if it is held."""
    from nocturne.pipeline import open_run
    from nocturne.pipeline.publishing import gate as check
    from nocturne.pipeline.runs import step

    run = open_run(run_dir)
    with step("gate", run):
        _say(f"passed with verdict {check(run).verdict}")


@app.command()
@_clean_errors
def publish(run_dir: RunDir, as_json: AsJson = False) -> None:
    """Publish a judged run: all of it in one step, or nothing."""
    from nocturne.pipeline import open_run
    from nocturne.pipeline.publishing import publish_run
    from nocturne.publish import path_of

    run = open_run(run_dir)
    manifest = publish_run(run)
    path = str(path_of(Path(run.state_dir), manifest.id))
    _say(f"published {manifest.rows_published} rows, {manifest.rows_quarantined} quarantined, as "
         f"{run.output_dir}\nmanifest {path}")  # fmt: skip
    answer = {
        "manifest": path,
        "output": run.output_dir,
        "id": manifest.id,
        "rows_published": manifest.rows_published,
        "rows_quarantined": manifest.rows_quarantined,
        "model_version": manifest.model.version,
        "verdict": manifest.verdict,
    }
    _answer(answer, as_json)


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid {os.getuid()}"


@app.command()
@_clean_errors
def approve(
    name: Name,
    date: Date,
    by: Annotated[Optional[str], typer.Option(help="Who decides; default: your login.")] = None,
) -> None:
    """Publish the held scores of a partition all the same."""
    from nocturne.pipeline.night import approve_held

    loaded = _load(name)
    partition = config.partition(loaded.pipeline.input.partition, date)
    manifest = approve_held(loaded, partition, by or _login())
    _say(f"published {manifest.rows_published} rows as manifest {manifest.id}")


@app.command()
@_clean_errors
def status(
    name: Name,
    first: Annotated[Optional[str], typer.Option("--from", help="First partition.")] = None,
    last: Annotated[Optional[str], typer.Option("--to", help="Last partition.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the partitions with state, model version, rows and verdict."""
    from nocturne.pipeline.status import status as list_them

    loaded = _load(name)
    for key in (first, last):
        if key is not None:
            config.parse(loaded.pipeline.input.partition, key)
    rows = list_them(loaded, first, last)
    if as_json:
        _answer(rows, True)
    else:
        from nocturne.tables import status_table

        status_table(name, rows)


@app.command()
@_clean_errors
def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the new pipeline.")],
    model: Annotated[str, typer.Option(help="Registered model: NAME, NAME@ALIAS, NAME/VERSION.")],
    input_path: Annotated[str, typer.Option("--input", help="Folder of the Parquet table.")],
    output_path: Annotated[Optional[str], typer.Option("--output", help="Of the scores.")] = None,
    key: Annotated[Optional[list[str]], typer.Option(help="Key column; may be repeated.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
    allow_pickle: Annotated[bool, typer.Option(help="Take a model that is a pickle.")] = False,
) -> None:
    """Write a pipeline YAML and starter suites from a model and its data."""
    from nocturne.init import init as write_it
    from nocturne.tracking import tracking_uri

    root = config.home()
    uri = tracking_uri(config.registry_uri(root), root)
    for path in write_it(name, model=model, input_path=input_path, output_path=output_path,
                         keys=key or None, root=root, tracking_uri=uri, force=force,
                         allow_pickle=allow_pickle):  # fmt: skip
        _say(f"wrote {path}")
    _say(f"next: nocturne score {name} --date DATE --dry-run")


@app.command()
@_clean_errors
def doctor(as_json: AsJson = False) -> None:
    """Check what a run needs, and say how to mend what is missing."""
    from nocturne.doctor import check_all
    from nocturne.tables import doctor_table

    checks = check_all()
    if as_json:
        _answer([check.__dict__ for check in checks], True)
    else:
        doctor_table(checks)
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


@config_app.command("show")
@_clean_errors
def config_show(name: Name, as_json: AsJson = False) -> None:
    """Every setting with its value and where it comes from."""
    loaded = _load(name)
    rows = list(loaded.values())
    if as_json:
        _answer([{"key": k, "value": v, "origin": o} for k, v, o in rows], True)
    else:
        from nocturne.tables import config_table

        config_table(name, rows)


@config_app.command("schema")
@_clean_errors
def config_schema() -> None:
    """Write the JSON schemas that editors use into conf/schema/."""
    from nocturne.config.schema import write_schemas

    for path in write_schemas(config.home()):
        _say(f"wrote {path}")


@config_app.command("check")
@_clean_errors
def config_check() -> None:
    """Validate every pipeline's YAML."""
    root, wrong = config.home(), []
    for name in config.names(root):
        try:
            config.load(name, root=root)
            _say(f"{name}: ok")
        except ConfigError as error:
            wrong.append(name)
            _say(f"{error}")
    if wrong:
        raise ConfigError(f"{len(wrong)} of the pipelines are wrong: {', '.join(wrong)}")


if __name__ == "__main__":
    app(prog_name="nocturne")
