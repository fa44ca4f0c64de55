"""Commands that score a partition or a range, and its single steps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Optional, get_args

import typer

from nocturne import config
from nocturne.cli.base import (
    AsJson,
    By,
    Date,
    Name,
    To,
    Version,
    answer,
    clean_errors,
    load,
    login,
    night,
    say,
)
from nocturne.errors import ConfigError
from nocturne.records.partition import Partition
from nocturne.stopwatch import Stopwatch

if TYPE_CHECKING:
    from nocturne.pipeline.night import NightOutcome

__all__ = ["app"]

app = typer.Typer()

RunDir = Annotated[str, typer.Argument(help="The run directory that prepare printed.")]
Force = Annotated[bool, typer.Option("--force", help="Score again what is published already.")]
Hold = Annotated[
    str,
    typer.Option("--hold", metavar="WHY", help="Hold it for a person, whatever the checks say."),
]
Which = Annotated[
    Optional[str],
    typer.Option(
        "--model",
        metavar="current|as_of|pinned",
        help="The version that is selected now, that was behind the alias at the night's scheduled "
        "time, or that scored the published night.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Resolve and plan, score nothing.")]


@app.command()
@clean_errors
def score(
    name: Name,
    date: Date,
    to: To = None,
    model_version: Version = None,
    model: Which = None,
    force: Force = False,
    hold: Hold = "",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Score a partition, or a range in one Spark application, from plan to publish."""
    from nocturne.pipeline.night import score_range

    loaded = load(name, model_version)
    nights = list(config.span(loaded.pipeline.input.partition, date, to))
    watch = Stopwatch()
    outcomes: list[NightOutcome] = []
    with watch("in all"):
        for version, some in _by_version(loaded, nights, model, model_version):
            outcomes += score_range(
                loaded if version == model_version else load(name, version),
                some,
                force=force,
                dry_run=dry_run,
                hold=hold,
                say=say,
                watch=watch,
            )
    say("seconds: " + ", ".join(f"{name} {s:.1f}" for name, s in watch.seconds.items()))
    _print_outcomes(name, outcomes, as_json)


def _by_version(
    loaded: config.Loaded,
    nights: Sequence[Partition],
    which: str | None,
    version: int | None,
) -> list[tuple[int | None, list[Partition]]]:
    """The nights, one after the other with the same version together; None: that of the YAML.

    Raises:
        ConfigError, StateError: which version it is can't be known; no night is scored.
    """
    found = zip(_versions_for(loaded, nights, which, version), nights, strict=True)
    return [(v, [night for _, night in some]) for v, some in groupby(found, lambda pair: pair[0])]


def _versions_for(
    loaded: config.Loaded, nights: Sequence[Partition], which: str | None, version: int | None
) -> list[int | None]:
    from nocturne.pipeline.model import versions_for

    if which is None:
        return [version] * len(nights)
    if which not in get_args(config.Which):
        known = ", ".join(get_args(config.Which))
        raise ConfigError(f"--model: got {which!r}, expected one of {known}")
    if version is not None:
        raise ConfigError("--model and --model-version exclude each other")
    return versions_for(loaded, nights, which)


@app.command()
@clean_errors
def requeue(name: Name, date: Date, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Give quarantined rows another chance, after a fix, with the model that scored the night.

    The splits that they are in are scored again; all others are taken over as they are.
    """
    from nocturne.pipeline.night import score_range

    loaded, partition = night(name, date)
    loaded = _with_its_model(loaded, partition)
    outcomes = score_range(loaded, [partition], force=False, dry_run=dry_run, requeue=True, say=say)
    _print_outcomes(name, outcomes, as_json)


def _with_its_model(
    loaded: config.Loaded, partition: Partition, model_version: int | None = None
) -> config.Loaded:
    """The pipeline with the model that scored a published night.

    Raises:
        ConfigError: another version was asked for.
        StateError: the night is not published.
    """
    from nocturne.pipeline.nights import PublishedNights

    name = loaded.pipeline.name
    scored_by = PublishedNights(loaded).manifest(partition).model.version
    if model_version not in (None, scored_by):
        raise ConfigError(
            f"--model-version: got {model_version}, but requeue takes the model that scored "
            f"{name} {partition.key}, version {scored_by}: leave it out, or score the night again"
        )
    return load(name, scored_by)


def _print_outcomes(name: str, outcomes: Sequence[NightOutcome], as_json: bool) -> None:
    if as_json:
        from nocturne.cli.answers import night_answer

        answer([night_answer(outcome) for outcome in outcomes], True)
    else:
        from nocturne.cli.tables import nights_table

        nights_table(name, outcomes)
    code = max((outcome.exit_code for outcome in outcomes), default=0)
    if code:
        raise typer.Exit(code)


@app.command()
@clean_errors
def ready(name: Name, date: Date) -> None:
    """Say whether a partition is complete: exit code 0, or 75 if not yet."""
    from nocturne.errors import NotReady, PartitionMissing
    from nocturne.pipeline import ready as check

    loaded, partition = night(name, date)
    try:
        check(loaded, partition)
    except PartitionMissing as error:
        raise NotReady(str(error)) from None
    say(f"{name} {date} is ready")


@app.command()
@clean_errors
def prepare(
    name: Name,
    date: Date,
    model_version: Version = None,
    model: Which = None,
    backfill: Annotated[
        bool, typer.Option("--backfill", help="Take the version that model.backfill says.")
    ] = False,
    force: Force = False,
    hold: Hold = "",
    requeued: Annotated[
        bool, typer.Option("--requeue", help="Plan its quarantined rows, as requeue does.")
    ] = False,
    dry_run: DryRun = False,
    caller: Annotated[str, typer.Option(hidden=True, help="Versions of what asks, as JSON.")] = "",
    as_json: AsJson = False,
) -> None:
    """Resolve the model and plan a partition; print its run directory."""
    from nocturne.pipeline import prepare as plan_it
    from nocturne.records.answers import PrepareAnswer

    loaded, partition = night(name, date, model_version)
    versions = _versions(caller) if caller else {}
    if not requeued:
        asked = model is not None or model_version is not None
        which = loaded.pipeline.model.backfill if backfill and not asked else model
        [version] = _versions_for(loaded, [partition], which, model_version)
        loaded = loaded if version == model_version else load(name, version)
    if requeued:
        loaded = _with_its_model(loaded, partition, model_version)
    prepared = plan_it(
        loaded,
        partition,
        force=force,
        hold=hold,
        requeue=requeued,
        dry_run=dry_run,
        caller=versions,
    )
    say(prepared.message)
    run_dir = prepared.run.uri if prepared.run and prepared.action == "score" else None
    answer(PrepareAnswer(prepared.action, run_dir, prepared.message), as_json)
    if run_dir and not as_json:
        print(run_dir)


def _versions(caller: str) -> dict[str, str]:
    try:
        versions = json.loads(caller)
    except (ValueError, RecursionError):
        versions = None
    if not isinstance(versions, dict) or not all(isinstance(v, str) for v in versions.values()):
        raise ConfigError(f"--caller: got {caller[:60]!r}, expected a JSON object of texts")
    return versions


@app.command()
@clean_errors
def judge(
    run: Annotated[str, typer.Argument(help="A run directory; with --date, a pipeline's name.")],
    date: Annotated[Optional[str], typer.Option("--date", help="Partition to judge again.")] = None,
    publish_it: Annotated[
        bool,
        typer.Option("--publish", help="With --date: publish it if the new verdict allows that."),
    ] = False,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Check quality and drift of a scored run; write its report.

    With --date: judge a held, failed or published night again, with the current suites and
    thresholds and without scoring. An unpublished night gets the new verdict; a published night
    does not change.
    """
    from nocturne.cli.answers import judge_answer, scores_answer
    from nocturne.model.tracking import import_mlflow
    from nocturne.pipeline import open_run
    from nocturne.pipeline.checks import Checks
    from nocturne.pipeline.publishing import gate as check
    from nocturne.pipeline.publishing import publish_run
    from nocturne.pipeline.recording import judge_again, judge_run
    from nocturne.pipeline.runs import as_planned

    scores = None
    if date is None:
        if publish_it:
            raise ConfigError("--publish goes with --date; of a run: nocturne publish RUN_DIR")
        judged = open_run(run)
        planned = as_planned(judged)
        with closing(Checks()) as checks:
            checks.start(planned.pipeline).expect([judged])
            import_mlflow()  # while Great Expectations is imported there
            judgement = judge_run(judged, check=checks, loaded=planned)
        say(f"verdict {judgement.verdict}")
    else:
        loaded, partition = night(run, date)
        judged, judgement, published = judge_again(loaded, partition, by or login())
        say(
            f"{run} {date}: verdict {judgement.verdict}"
            + (
                " if it were judged now; it is published and does not change"
                if published
                else f"; to publish it: nocturne publish {judged.uri}"
                if judgement.verdict.publishes and not publish_it
                else ""
            )
        )
        if publish_it and not published and judgement.verdict.publishes:
            check(judged)  # if others are in force by now, it stays held
            scores = scores_answer(publish_run(judged), loaded)
            say(f"published {scores.rows_published} rows as manifest {scores.id}")
    for reason in judgement.reasons:
        say(f"  {reason}")
    say(f"report {judged.report}")
    answer(judge_answer(judged, judgement, scores), as_json)


@app.command()
@clean_errors
def gate(
    run_dir: RunDir,
    approve: Annotated[bool, typer.Option("--approve", help="Let a held run pass.")] = False,
    reject: Annotated[bool, typer.Option("--reject", help="Decide that it does not pass.")] = False,
    by: By = None,
    why: Annotated[str, typer.Option(help="Kept with a rejection.")] = "",
    unanswered: Annotated[
        bool, typer.Option("--unanswered", hidden=True, help="Nobody answered in time.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Let a judged run pass, or say why it can't: exit code 3 if it is held."""
    from nocturne.cli.answers import gate_answer
    from nocturne.operate.decisions import reject_run
    from nocturne.pipeline import open_run
    from nocturne.pipeline.publishing import approve as let_pass
    from nocturne.pipeline.publishing import gate as check

    if approve and reject:
        raise ConfigError("--approve and --reject exclude each other")
    run = open_run(run_dir)
    if reject:
        reject_run(run, by or login(), why, unanswered=unanswered)
        say(f"rejected; the published scores of {run.plan.partition.key} stay")
        return
    if approve:
        let_pass(run, by or login())
    judgement = run.judgement()
    answer(gate_answer(run, judgement), as_json)
    with run.step("gate"):
        say(f"passed with verdict {check(run).verdict}")


@app.command()
@clean_errors
def publish(run_dir: RunDir, as_json: AsJson = False) -> None:
    """Publish a judged run: all of it in one step, or nothing."""
    from nocturne.cli.answers import publish_answer
    from nocturne.pipeline import open_run
    from nocturne.pipeline.publishing import publish_run

    run = open_run(run_dir)
    manifest = publish_run(run)
    published = publish_answer(run, manifest)
    say(
        f"published {published.rows_published} rows, {published.rows_quarantined} quarantined, as "
        f"{published.output}\nmanifest {published.manifest}"
    )
    answer(published, as_json)
