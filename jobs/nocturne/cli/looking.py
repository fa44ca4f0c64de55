"""Commands that show what there is: the status of partitions, a page to watch, quarantined rows."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import Annotated, Optional

import typer

from nocturne import config
from nocturne.cli.base import (
    AsJson,
    Date,
    Name,
    To,
    answer,
    check_keys,
    clean_errors,
    load,
    login,
    night,
)
from nocturne.errors import ConfigError, RetryableError

__all__ = ["app"]

app = typer.Typer()


@app.command()
@clean_errors
def status(
    name: Annotated[
        Optional[str], typer.Argument(metavar="PIPELINE", help="Default: a line for each.")
    ] = None,
    first: Annotated[Optional[str], typer.Option("--from", help="First partition.")] = None,
    last: Annotated[Optional[str], typer.Option("--to", help="Last partition.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the partitions with their state and the reason; without a pipeline, list these."""
    from nocturne.cli.answers import partition_answer, pipeline_answer
    from nocturne.operate.status import statuses

    if name is None:
        if first or last:
            raise ConfigError("--from and --to are of one pipeline: nocturne status PIPELINE ...")
        pipelines = [pipeline_answer(known) for known in config.names(config.home())]
        if as_json:
            answer(pipelines, True)
        else:
            from nocturne.cli.tables import pipelines_table

            pipelines_table(pipelines)
        return
    loaded = load(name)
    check_keys(loaded, first, last)
    rows = [partition_answer(row) for row in statuses(loaded, first, last)]
    if as_json:
        answer(rows, True)
    else:
        from nocturne.cli.tables import status_table

        status_table(name, rows)


@app.command()
@clean_errors
def watch(
    name: Name,
    every: Annotated[float, typer.Option(min=0.5, help="Seconds between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
) -> None:
    """Show a pipeline in the terminal and keep it up to date: what needs you, and why; progress.

    Ctrl-C ends it. If the output is not a terminal, it looks once.
    """
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from nocturne.cli.watching import frame

    loaded, console = load(name), Console()
    if once or not console.is_terminal:
        console.print(frame(loaded))
        return
    with (
        suppress(KeyboardInterrupt),
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        while True:
            try:
                shown = frame(load(name), console.height)
            except (ConfigError, RetryableError) as error:  # a YAML that is being edited
                shown = Text(str(error), style="red")
            live.update(shown, refresh=True)
            time.sleep(every)


@app.command()
@clean_errors
def tune(
    name: Name,
    date: Date,
    again: Annotated[
        bool,
        typer.Option(
            "--again",
            help="Measure anew. Nights that are scored from now on take the result; so does a "
            "published night that is scored again, which then is published anew.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the ways to run the model that were measured, what a row costs, and which is taken.

    They are measured on the partition's rows, if they were not before.
    """
    from nocturne.cli.tables import tuning_table
    from nocturne.pipeline.prepare import tuning

    loaded, partition = night(name, date)
    found = tuning(loaded, partition, again=again)
    if as_json:
        answer(found, True)
    else:
        tuning_table(name, found)


@app.command("rows")
@clean_errors
def quarantined(
    name: Name,
    date: Date,
    reason: Annotated[str, typer.Option(help="Only rows with this reason.")] = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="Print all of them as CSV.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Rows to show without --csv.")] = 20,
) -> None:
    """Show the quarantined rows of a partition, with their reasons; sensitive columns are left out.

    In the CSV, a text that a spreadsheet would run gets an apostrophe before it.
    """
    from nocturne.cli.tables import rows_table
    from nocturne.operate.rows import csv_lines, quarantined_rows

    loaded, partition = night(name, date)
    if as_csv:
        for line in csv_lines(loaded, partition, reason=reason):
            sys.stdout.write(line)
        return
    rows_table(name, date, quarantined_rows(loaded, partition, reason=reason, limit=limit))


@app.command()
@clean_errors
def truth(
    name: Name,
    date: Annotated[Optional[str], typer.Option(help="Partition, e.g. 2013-07-01.")] = None,
    to: To = None,
    due: Annotated[
        bool,
        typer.Option(
            "--due", help="All nights whose labels came or may have changed, as the DAG does."
        ),
    ] = False,
    told: Annotated[
        Optional[list[str]],
        typer.Option(
            "--told",
            metavar="PARTITION:NUMBER",
            help="Only note that what is beyond labels.bounds was told; may be repeated.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Judge published nights by the labels that came for them: all rows, and those of each version.

    Corrected labels make a new version of a night's truth; what was counted before stays. The
    figures are logged to MLflow, one run for each model version.
    """
    from nocturne.cli.answers import truth_answer
    from nocturne.operate.truth.due import due_nights
    from nocturne.operate.truth.log import log_truths, note_told
    from nocturne.operate.truth.nights import truths_of

    loaded = load(name)
    if told:
        note_told(loaded, told)
        return
    if due == (date is not None):
        raise ConfigError("say which nights: --date (and --to), or --due")
    names = loaded.pipeline.input.partition
    nights = due_nights(loaded) if due else list(config.span(names, date or "", to))
    found = truths_of(loaded, nights)
    log_truths(loaded, found)
    if as_json:
        answer(truth_answer(loaded, found), True)
    else:
        from nocturne.cli.tables import truth_tables

        truth_tables(name, found)
    if any(one.retry for one in found):
        raise typer.Exit(RetryableError.exit_code)
    if found and not any(one.truth for one in found):
        raise typer.Exit(1)


@app.command()
@clean_errors
def evidence(
    name: Name,
    promote: Annotated[
        bool, typer.Option("--promote", help="Promote the challenger, if the evidence holds.")
    ] = False,
    version: Annotated[
        Optional[int], typer.Option(min=1, help="Only if it is this version that is proposed.")
    ] = None,
    by: Annotated[str, typer.Option(help="Who promotes it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Show whether labels speak for a challenger, by the section promote: of the pipeline."""
    from nocturne.operate.truth.evidence import evidence_of, promote_on

    loaded = load(name)
    found = evidence_of(loaded)
    if promote:
        promote_on(loaded, found, version, by or login())
    if as_json:
        answer(found, True)
    else:
        from nocturne.cli.tables import evidence_tables

        evidence_tables(name, found)


@app.command()
@clean_errors
def compare(
    name: Name,
    date: Date,
    to: To = None,
    as_json: AsJson = False,
) -> None:
    """Compare the scores of the pipeline's challengers with its own, over published nights.

    The figures were counted while both were scored; no scores are read.
    """
    from nocturne.cli.answers import comparison_answer
    from nocturne.operate.challengers import compared

    loaded = load(name)
    nights = list(config.span(loaded.pipeline.input.partition, date, to))
    answers = [comparison_answer(one) for one in compared(loaded, nights)]
    if as_json:
        answer(answers, True)
    else:
        from nocturne.cli.tables import comparison_tables

        for one in answers:
            comparison_tables(name, one)
    if not any(one["nights"] for one in answers):
        raise typer.Exit(1)
