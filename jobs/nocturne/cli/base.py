"""Functions and options that the commands share: errors without tracebacks, output, loading."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, Optional, ParamSpec, TypeVar

import typer

from nocturne import config
from nocturne.errors import NocturneError, disk_errors
from nocturne.host.identity import login
from nocturne.records.partition import Partition

__all__ = [
    "AsJson",
    "By",
    "Date",
    "Name",
    "To",
    "Version",
    "answer",
    "check_keys",
    "clean_errors",
    "load",
    "login",
    "night",
    "say",
]

P = ParamSpec("P")
R = TypeVar("R")

Name = Annotated[str, typer.Argument(metavar="PIPELINE", help="A file in conf/pipelines/.")]
Date = Annotated[str, typer.Option("--date", help="Partition, e.g. 2013-04-01.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Version = Annotated[Optional[int], typer.Option("--model-version", help="Score with this version.")]
To = Annotated[Optional[str], typer.Option("--to", help="Last partition of a range.")]
By = Annotated[Optional[str], typer.Option(help="Who decides; default: your login.")]


def clean_errors(command: Callable[P, R]) -> Callable[P, R]:
    """End the command with the message of our own errors and file errors, without a traceback."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with disk_errors():
                return command(*args, **kwargs)
        except NocturneError as error:
            print(f"nocturne: {error}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from None
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader has closed the pipe, as with `| head`
                raise
            print(f"nocturne: {type(error).__name__}: {error}", file=sys.stderr)
            raise typer.Exit(1) from None

    return wrapped


def say(text: str) -> None:
    """Print a message for people, on standard error."""
    print(text, file=sys.stderr)


def answer(value: Any, as_json: bool) -> None:
    """Print one JSON value for programs, as the last line of standard output, if ``as_json``.

    Dataclasses become objects.
    """
    if as_json:
        print(json.dumps(value, ensure_ascii=False, default=vars), flush=True)


def load(name: str, version: int | None = None) -> config.Loaded:
    """The pipeline; ``version`` overrides the version of its model."""
    return config.load(name, overrides={"model.version": version})


def night(name: str, date: str, version: int | None = None) -> tuple[config.Loaded, Partition]:
    """The pipeline, loaded by ``load``, and one of its partitions."""
    loaded = load(name, version)
    return loaded, config.partition(loaded.pipeline.input.partition, date)


def check_keys(loaded: config.Loaded, *keys: str | None) -> None:
    """Raises: ConfigError if a key is not None and not a partition key."""
    for key in keys:
        if key is not None:
            config.parse(loaded.pipeline.input.partition, key)
