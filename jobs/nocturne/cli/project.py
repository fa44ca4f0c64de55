"""Commands that set up a project: new pipelines, checks of the machine, the configuration."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from nocturne import config
from nocturne.cli.base import AsJson, Name, answer, clean_errors, load, say
from nocturne.errors import ConfigError

__all__ = ["app"]

app = typer.Typer()
config_app = typer.Typer(no_args_is_help=True, help="Look at the configuration.")
app.add_typer(config_app, name="config")


@app.command()
@clean_errors
def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the new pipeline.")],
    model: Annotated[
        str, typer.Option(help="NAME, NAME@ALIAS or NAME/VERSION in the registry, or MLflow's URI.")
    ],
    input_path: Annotated[str, typer.Option("--input", help="Folder of the Parquet table.")],
    output_path: Annotated[Optional[str], typer.Option("--output", help="Of the scores.")] = None,
    key: Annotated[Optional[list[str]], typer.Option(help="Key column; may be repeated.")] = None,
    feature: Annotated[
        Optional[list[str]],
        typer.Option(help="Column the model takes, if it names none; repeated, in order."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
    allow_pickle: Annotated[bool, typer.Option(help="Take a model that is a pickle.")] = False,
) -> None:
    """Write a pipeline YAML and starter suites from a model and its data."""
    from nocturne.cli.init import init as write_it
    from nocturne.model.tracking import uris

    root = config.home()
    servers = uris(config.project_sections(root)[0], root)
    for path in write_it(
        name,
        model=model,
        input_path=input_path,
        output_path=output_path,
        keys=key or None,
        root=root,
        force=force,
        allow_pickle=allow_pickle,
        features=feature or (),
        say=say,
        **servers,
    ):
        say(f"wrote {path}")
    say(f"next: nocturne score {name} --date DATE --dry-run")


@app.command()
@clean_errors
def doctor(as_json: AsJson = False) -> None:
    """Check what a run needs, and say how to mend what is missing."""
    from nocturne.cli.doctor import check_all
    from nocturne.cli.tables import doctor_table

    checks = check_all()
    if as_json:
        answer([check.__dict__ for check in checks], True)
    else:
        doctor_table(checks)
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


@config_app.command("show")
@clean_errors
def config_show(name: Name, as_json: AsJson = False) -> None:
    """Every setting with its value and where it comes from."""
    loaded = load(name)
    rows = list(loaded.values())
    if as_json:
        answer([{"key": k, "value": v, "origin": o} for k, v, o in rows], True)
    else:
        from nocturne.cli.tables import config_table

        config_table(name, rows)


@config_app.command("schema")
@clean_errors
def config_schema() -> None:
    """Write the JSON schemas that editors use into conf/schema/."""
    from nocturne.config.schema import write_schemas

    for path in write_schemas(config.home()):
        say(f"wrote {path}")


@config_app.command("check")
@clean_errors
def config_check() -> None:
    """Validate every pipeline's YAML."""
    root, invalid = config.home(), []
    for name in config.names(root):
        try:
            config.load(name, root=root)
            say(f"{name}: ok")
        except ConfigError as error:
            invalid.append(name)
            say(f"{error}")
    if invalid:
        raise ConfigError(f"{len(invalid)} of the pipelines are wrong: {', '.join(invalid)}")
