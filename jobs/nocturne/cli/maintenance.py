"""Commands for scored nights: decide on held scores, verify, report, roll back, clean up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer
import yaml

from nocturne import config
from nocturne.cli.base import (
    AsJson,
    By,
    Date,
    Name,
    To,
    answer,
    check_keys,
    clean_errors,
    load,
    login,
    night,
    say,
)

__all__ = ["app"]

app = typer.Typer()

RunKey = Annotated[
    Optional[str],
    typer.Option("--run", help="Only if the held scores are those of this run (RUN as shown)."),
]


@app.command()
@clean_errors
def approve(
    name: Name, date: Date, run: RunKey = None, by: By = None, as_json: AsJson = False
) -> None:
    """Publish the held scores of a partition."""
    from nocturne.cli.answers import scores_answer
    from nocturne.operate.decisions import approve_held

    loaded, partition = night(name, date)
    manifest = approve_held(loaded, partition, by or login(), run)
    say(f"published {manifest.rows_published} rows as manifest {manifest.id}")
    answer(scores_answer(manifest, loaded), as_json)


@app.command()
@clean_errors
def accept(name: Name, date: Date, by: By = None, as_json: AsJson = False) -> None:
    """Count the drift of a published night as ordinary from now on."""
    from nocturne.cli.answers import scores_answer
    from nocturne.operate.decisions import accept as accept_drift

    loaded, partition = night(name, date)
    manifest = accept_drift(loaded, partition, by or login())
    say(f"the drift of {name} {date} counts as ordinary for the nights that are judged from now on")
    answer(scores_answer(manifest, loaded), as_json)


ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="A registered model.")]
Alias = Annotated[str, typer.Option("--alias", help="Which alias is moved.")]
Why = Annotated[str, typer.Option(help="Kept in the history.")]


@app.command()
@clean_errors
def promote(
    model: ModelName,
    version: Annotated[int, typer.Argument(min=1, help="Where the alias goes.")],
    alias: Alias = "champion",
    by: By = None,
    why: Why = "",
    as_json: AsJson = False,
) -> None:
    """Move an alias of a registered model to a version, and keep who did it, when and why.

    Of two promotions at once one is refused.
    """
    from nocturne.model import aliases
    from nocturne.operate.aliases import registry

    with registry() as client:
        change = aliases.promote(client, model, alias, version, by or login(), why)
    say(f"{model}@{alias}: version {change.after}, which was {change.before or 'nowhere'} before")
    answer(change, as_json)


@app.command()
@clean_errors
def demote(
    model: ModelName,
    alias: Alias = "champion",
    by: By = None,
    why: Why = "",
    as_json: AsJson = False,
) -> None:
    """Move an alias back to the version that it had before its last change."""
    from nocturne.model import aliases
    from nocturne.operate.aliases import registry

    with registry() as client:
        change = aliases.demote(client, model, alias, by or login(), why)
    say(f"{model}@{alias}: back to version {change.after}, from {change.before}")
    answer(change, as_json)


@app.command()
@clean_errors
def digest(
    model: ModelName,
    version: Annotated[int, typer.Argument(min=1, help="Which version.")],
    as_json: AsJson = False,
) -> None:
    """Tag a version with the digest of its files, so that each night sees if they were changed."""
    from nocturne.model.digests import tag_digest
    from nocturne.operate.aliases import registry

    with registry() as client:
        sha256 = tag_digest(client, model, version)
    say(f"{model} version {version}: sha256 {sha256}")
    answer({"model": model, "version": version, "sha256": sha256}, as_json)


@app.command()
@clean_errors
def sign(
    model: ModelName,
    version: Annotated[int, typer.Argument(min=1, help="Which version.")],
    key: Annotated[
        Optional[Path],
        typer.Option(help="The private key, PEM; default: the file in NOCTURNE_MODEL_SIGNING_KEY."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Sign a version's files, for pipelines with model.require_signature.

    The password of the key, if it has one, is in NOCTURNE_MODEL_SIGNING_PASSWORD. What is not set
    is that of the nights, NOCTURNE_SIGNING_KEY and NOCTURNE_SIGNING_PASSWORD.
    """
    from nocturne.model.signatures import sign_version
    from nocturne.operate.aliases import registry
    from nocturne.signing import key_of_models

    with registry() as client:
        sha256 = sign_version(client, model, version, key_of_models(key))
    say(f"{model} version {version} is signed: sha256 {sha256}")
    answer({"model": model, "version": version, "sha256": sha256}, as_json)


@app.command()
@clean_errors
def history(model: ModelName, as_json: AsJson = False) -> None:
    """Show what became of a model's aliases, and which nights each version scored."""
    from nocturne.operate.aliases import history_of

    found = history_of(model)
    if as_json:
        answer(found, True)
    else:
        from nocturne.cli.tables import history_tables

        history_tables(model, found)


@app.command()
@clean_errors
def canary(
    name: Name,
    stop: Annotated[bool, typer.Option("--stop", help="Take it out of the next nights.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Let it score again.")] = False,
    by: By = None,
    why: Annotated[str, typer.Option(help="Kept with --stop.")] = "",
    last: Annotated[int, typer.Option(min=1, help="How many published nights to show.")] = 14,
    as_json: AsJson = False,
) -> None:
    """Show what the last nights had of the canary, or of the split; stop it, or let it go on.

    Nights that are published with it stay as they are.
    """
    from nocturne.errors import ConfigError
    from nocturne.operate.arms import resume as let_go_on
    from nocturne.operate.arms import sharing
    from nocturne.operate.arms import stop as take_out

    if stop and resume:
        raise ConfigError("--stop and --resume exclude each other")
    loaded = load(name)
    if stop:
        take_out(loaded, by or login(), why)
    if resume:
        let_go_on(loaded)
    found = sharing(loaded, last)
    if as_json:
        answer(found, True)
    else:
        from nocturne.cli.tables import sharing_table

        sharing_table(name, found)


@app.command()
@clean_errors
def reject(
    name: Name,
    date: Date,
    run: RunKey = None,
    by: By = None,
    why: Annotated[str, typer.Option(help="Kept with the decision.")] = "",
    as_json: AsJson = False,
) -> None:
    """Decide that the held scores of a partition are not published."""
    from nocturne.operate.decisions import reject_held

    loaded, partition = night(name, date)
    rejected = reject_held(loaded, partition, by or login(), why, run)
    say(
        f"{name} {date} is rejected; the scores published before stay. Its scores remain in "
        f"{rejected.path} until `nocturne gc {name} --yes`"
    )
    answer({"partition": date, "run_dir": rejected.uri}, as_json)


@app.command()
@clean_errors
def baseline(
    name: Name,
    first: Annotated[Optional[str], typer.Option("--from", help="First published night.")] = None,
    last: Annotated[Optional[str], typer.Option("--to", help="Last one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what nights are compared with: the model's baseline, or one of published nights.

    With --from and --to it is built as drift.baseline: {first: ..., last: ...} would build it.
    """
    from nocturne.errors import ConfigError, ModelError
    from nocturne.operate.baseline import baseline_rows
    from nocturne.pipeline.baselines import baseline_of_nights
    from nocturne.pipeline.model import resolver
    from nocturne.pipeline.nights import PublishedNights

    loaded = load(name)
    check_keys(loaded, first, last)
    if (first is None) != (last is None):
        raise ConfigError("--from and --to belong together: the first and the last night")
    if first is not None and last is not None:
        compared_with = baseline_of_nights(
            loaded, [n for n in PublishedNights(loaded).all() if first <= n.key <= last]
        )
    else:
        resolved = resolver(loaded)()
        if resolved.baseline is None:
            raise ModelError(
                f"model {resolved.ref.name} version {resolved.ref.version} has no baseline; log "
                "one with nocturne.contract.register, or name nights with --from and --to"
            )
        compared_with = resolved.baseline
    rows = baseline_rows(compared_with)
    if as_json:
        answer(rows, True)
    else:
        from nocturne.cli.tables import baseline_table

        baseline_table(name, rows)


@app.command()
@clean_errors
def report(
    name: Name,
    first: Annotated[str, typer.Option("--from", help="First partition.")],
    last: Annotated[str, typer.Option("--to", help="Last partition.")],
    out: Annotated[
        Optional[Path], typer.Option(help="The HTML file; default: in the state.")
    ] = None,
) -> None:
    """Write one HTML report of the published nights of a range."""
    from nocturne.config.local_paths import check_local
    from nocturne.operate.reports import report_of

    check_local("out", str(out or ""))
    loaded = load(name)
    span = list(config.span(loaded.pipeline.input.partition, first, last))
    print(report_of(loaded, span, out))


@app.command()
@clean_errors
def verify(
    name: Name,
    date: Annotated[Optional[str], typer.Option("--date", help="Partition.")] = None,
    since: Annotated[
        Optional[str], typer.Option("--since", help="First of the nights to look through.")
    ] = None,
    to: To = None,
    replay: Annotated[bool, typer.Option("--replay", help="Score splits again, compare.")] = False,
    splits: Annotated[int, typer.Option(min=0, help="How many are replayed; 0: all.")] = 2,
    as_json: AsJson = False,
) -> None:
    """Prove that what is published is what the manifest says: files, hashes, counts, schema.

    Exit code 1 if it is not, or if nothing is published. With --since: list the published nights
    whose scores would differ today, the reasons, and the commands that score them again; exit
    code 1 if there is one.
    """
    from nocturne.errors import ConfigError, NocturneError, StoreUnavailable
    from nocturne.operate.verify import verify_partition

    loaded = load(name)
    check_keys(loaded, date, since, to)
    if (date is None) == (since is None) or (since is not None and replay):
        raise ConfigError(
            "give --date, the night to prove (with --replay, if you like), or --since, the first "
            "of the nights to look through for those to score again"
        )
    if date is None:
        _outdated(loaded, str(since), to, as_json)
        return
    results: list[dict[str, Any]] = []
    for partition in config.span(loaded.pipeline.input.partition, date, to):
        try:
            verified = verify_partition(loaded, partition, (splits or None) if replay else 0)
        except StoreUnavailable:
            raise
        except (NocturneError, OSError) as error:
            results.append({"partition": partition.key, "ok": False, "message": str(error)})
            say(f"{partition.key}: {error}")
            continue
        results.append(verified.as_json())
        contents = f"{verified.files} files, {verified.rows} rows, manifest {verified.manifest}"
        say(f"{partition.key}: {'ok' if verified.ok else 'NOT as published'}, {contents}")
        for problem in verified.problems:
            say(f"  {problem.file or 'the partition'}: {problem.problem}")
        for split in verified.replayed:
            detail = f": {split.detail}" if split.detail else ""
            say(f"  {split.file}: replay {split.outcome}{detail}")
    answer(results, as_json)
    if not all(result["ok"] for result in results):
        raise typer.Exit(1)


def _outdated(loaded: config.Loaded, since: str, to: str | None, as_json: bool) -> None:
    """Print the commands on standard output, one a line, and the reasons on standard error."""
    from nocturne.operate.outdated import rescore_advice

    nights = list(rescore_advice(loaded, since, to))
    to_rescore = [outdated for outdated in nights if not outdated.ok]
    for outdated in to_rescore:
        for reason in outdated.reasons:
            say(f"{outdated.partition}: {reason}")
        if outdated.command and not as_json:
            print(outdated.command)
    say(f"{len(to_rescore)} of {len(nights)} published nights should be scored again or checked")
    answer([outdated.as_json() for outdated in nights], as_json)
    if to_rescore:
        raise typer.Exit(1)


@app.command()
@clean_errors
def rollback(
    name: Name,
    date: Date,
    to: Annotated[
        Optional[str], typer.Option("--to", help="Manifest id or number; default: the one before.")
    ] = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Put the earlier scores of a partition in force again, as a new manifest."""
    from nocturne.cli.answers import scores_answer
    from nocturne.operate.decisions import roll_back

    loaded, partition = night(name, date)
    manifest = roll_back(loaded, partition, to, by or login())
    say(
        f"{name} {date}: manifest {manifest.restores} ({manifest.rows_published} rows, model "
        f"version {manifest.model.version}) is in force again as {manifest.id}"
    )
    answer(scores_answer(manifest, loaded), as_json)


@app.command()
@clean_errors
def adopt(
    name: Name,
    date: Annotated[Optional[str], typer.Option("--date", help="Partition.")] = None,
    compacted: Annotated[
        bool,
        typer.Option(
            "--compacted", help="All nights whose rows only lie in other files, once compared."
        ),
    ] = False,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Take the rows of a published partition that another program has changed, as they are.

    It is the way out where Nocturne refuses to replace them. A new manifest names them; when the
    partition is scored again, they are replaced. `nocturne rollback` brings the earlier ones back.

    With --compacted it is for a schedule: after a lake table was compacted, and before its old
    files are cleaned away. Rows that are others are left alone, with exit code 1.
    """
    from nocturne.cli.answers import scores_answer
    from nocturne.operate.decisions import adopt_compacted, adopt_present

    if (date is None) is not compacted:
        raise typer.BadParameter("give either --date or --compacted")
    if date is None:
        loaded = load(name)
        manifests, problems = adopt_compacted(loaded)
        for one in manifests:
            say(f"{name} {one.partition.key}: the same rows in other files, in force as {one.id}")
        for problem in problems:
            say(f"nocturne: {problem}")
        if not manifests and not problems:
            say(f"{name}: no night's rows lie in other files")
        answer([scores_answer(one, loaded) for one in manifests], as_json)
        if problems:
            raise typer.Exit(1)
        return
    loaded, partition = night(name, date)
    manifest = adopt_present(loaded, partition, by or login())
    rows = "the same rows" if manifest.adopted == "files" else "rows that may be others"
    say(
        f"{name} {date}: {manifest.rows_published} rows in {len(manifest.outputs)} files of "
        f"another program, {rows}, are in force as {manifest.id}"
    )
    answer(scores_answer(manifest, loaded), as_json)


@app.command()
@clean_errors
def move(
    name: Name,
    to: Annotated[str, typer.Option("--to", help="The new output.path: a folder or a URI.")],
    format_: Annotated[
        Optional[str], typer.Option("--format", help="The new output.format; default: as now.")
    ] = None,
    table: Annotated[
        Optional[str], typer.Option("--table", help="The new output.table of an Iceberg table.")
    ] = None,
    state: Annotated[
        Optional[str], typer.Option("--state", help="The new output.state; default: beside it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Copy a pipeline's published nights and their state to another place or format.

    Each night is verified there. Nothing is removed from the old place, and the pipeline publishes
    there until its YAML names the new one. The same command goes on where it was interrupted, and
    brings nights that were published since. Exit code 1 if a night could not be moved, or if there
    is none.
    """
    from nocturne.operate.move import move as move_nights
    from nocturne.operate.move import moved_pipeline

    loaded = load(name)
    output = {"path": to, "table": table, "state": state}
    if format_ is not None:
        output["format"] = format_
    target = moved_pipeline(loaded, **output)
    nights = move_nights(loaded, target, say)
    moved = [night for night in nights if night.ok]
    if not nights:
        old = loaded.pipeline.output.path
        say(f"nothing of {name} is published in {old}, so there was nothing to move")
    else:
        say(f"{len(moved)} of {len(nights)} published nights are in {to}, and verified there")
    is_done = bool(nights) and len(moved) == len(nights)
    if is_done:
        lines = {"path": to, "format": target.pipeline.output.format, **output}
        # What is set now, and must not be any more, is null: it may come from conf/base.yaml.
        set_now = {key for key in lines if getattr(loaded.pipeline.output, key) is not None}
        shown = {k: value for k, value in lines.items() if value is not None or k in set_now}
        text = yaml.safe_dump({"output": shown}, sort_keys=False, allow_unicode=True, width=10_000)
        say(
            f"To publish there from now on, write into conf/pipelines/{name}.yaml:\n{text.rstrip()}"
        )
        say(
            "Kept earlier versions stay in the old place, and so do nights that are not published; "
            "remove it when it is no longer needed"
        )
    answer([{**vars(night), "ok": night.ok} for night in nights], as_json)
    if not is_done:
        raise typer.Exit(1)


@app.command()
@clean_errors
def gc(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; else it is only listed.")] = False,
    older_than: Annotated[
        float, typer.Option(min=0, help="Hours; what changed within them is left alone.")
    ] = 24,
    as_json: AsJson = False,
) -> None:
    """List, or remove, files of the state that nothing needs any more.

    Files that a manifest in force, a kept version, or a held or running night needs always stay.
    Exit code 1 if something was left alone, because a file is damaged or can't be removed. What is
    being published just now is left alone too, and said so.
    """
    from nocturne.operate.gc import collect

    garbage_found, problems, busy = collect(load(name), older_than * 3600, yes)
    for garbage in garbage_found:
        say(f"{garbage.bytes:>14,}  {garbage.path}  ({garbage.why})")
    size = sum(garbage.bytes for garbage in garbage_found) / 1e6
    verb = "removed" if yes else "would be removed; --yes removes it"
    say(
        f"{len(garbage_found)} files and folders, {size:,.1f} MB: {verb}"
        if garbage_found
        else "no garbage"
    )
    for problem in [*problems, *busy]:
        say(f"nocturne: {problem}")
    answer([{"path": str(g.path), "bytes": g.bytes, "why": g.why} for g in garbage_found], as_json)
    if problems:
        raise typer.Exit(1)
