"""What the commands share: errors without tracebacks, options, where output goes."""

from __future__ import annotations

import errno
import getpass
import json
import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, Optional, ParamSpec, TypeVar

import typer

from nocturne import config
from nocturne.errors import NocturneError, disk_errors
from nocturne.records import Manifest, Partition

__all__ = [
    "AsJson",
    "By",
    "Date",
    "Name",
    "Version",
    "answer",
    "check_keys",
    "clean_errors",
    "described",
    "described_status",
    "load",
    "login",
    "night",
    "say",
]

if TYPE_CHECKING:
    from nocturne.operate.status import PartitionStatus

P = ParamSpec("P")
R = TypeVar("R")

Name = Annotated[str, typer.Argument(metavar="PIPELINE", help="A file in conf/pipelines/.")]
Date = Annotated[str, typer.Option("--date", help="Partition, e.g. 2013-04-01.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Version = Annotated[Optional[int], typer.Option("--model-version", help="Score with this version.")]
By = Annotated[Optional[str], typer.Option(help="Who decides; default: your login.")]


def clean_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Our own errors, and those of files, end the command with their message, not a traceback."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with disk_errors():
                return command(*args, **kwargs)
        except NocturneError as error:
            print(f"nocturne: {error}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from None
        except OSError as error:
            if error.errno == errno.EPIPE:  # nobody reads on, as with `| head`
                raise
            print(f"nocturne: {type(error).__name__}: {error}", file=sys.stderr)
            raise typer.Exit(1) from None

    return wrapped


def say(text: str) -> None:
    """For people: standard error."""
    print(text, file=sys.stderr)


def answer(value: Any, as_json: bool) -> None:
    """For programs: one JSON value, the last line of standard output."""
    if as_json:
        print(json.dumps(value, ensure_ascii=False), flush=True)


def described(manifest: Manifest, loaded: config.Loaded) -> dict[str, Any]:
    """What a program wants to know of scores that have come into force."""
    from nocturne.pipeline.places import Places
    from nocturne.pipeline.runs import mlflow_page

    state = Places.of(loaded).state.partition(manifest.partition)
    mlflow_run_id = state.run(manifest.run_key).mlflow_run_id()
    return {
        "partition": manifest.partition.key,
        "manifest": str(state.manifest_file(manifest.id)),
        "mlflow": mlflow_page(loaded, mlflow_run_id),
        "id": manifest.id,
        "restores": manifest.restores,
        "rows_published": manifest.rows_published,
        "rows_quarantined": manifest.rows_quarantined,
        "model_version": manifest.model.version,
        "verdict": manifest.verdict,
    }


def described_status(status: PartitionStatus) -> dict[str, Any]:
    """What a program wants to know of how a partition stands."""
    manifest, run = status.manifest, status.unfinished
    return {
        "partition": status.key,
        "state": status.state,
        "model_version": status.model_version,
        "rows_in": manifest.rows_in if manifest else None,
        "rows_published": manifest.rows_published if manifest else None,
        "rows_quarantined": manifest.rows_quarantined if manifest else None,
        "rows_per_second": status.rows_per_second,
        "verdict": manifest.verdict if manifest else None,
        "drift_verdict": manifest.verdict_of("drift") if manifest else None,
        "reasons": list(manifest.reasons) if manifest else [],
        "input": str(status.input),
        "output": str(status.location) if status.location else None,
        "manifest": str(status.manifest_file) if status.manifest_file else None,
        "report": str(status.report) if status.report else None,
        "step": run.step if run else None,
        "rows_done": run.rows_done if run else None,
        "message": status.message,
    }


def load(name: str, version: int | None = None) -> config.Loaded:
    """The pipeline, its model's version by hand if one is given."""
    return config.load(name, overrides={"model.version": version})


def night(name: str, date: str, version: int | None = None) -> tuple[config.Loaded, Partition]:
    """The pipeline, as ``load`` gives it, and one of its partitions."""
    loaded = load(name, version)
    return loaded, config.partition(loaded.pipeline.input.partition, date)


def check_keys(loaded: config.Loaded, *keys: str | None) -> None:
    """Raises: ConfigError if one that is given is no partition key."""
    for key in keys:
        if key is not None:
            config.parse(loaded.pipeline.input.partition, key)


def login() -> str:
    """Who runs this."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid {os.getuid()}"
