"""``nocturne``: the pipeline from a terminal, and its single steps for Airflow.

Exit codes: 0 success; 1 a terminal error (trying again won't help); 2 wrong usage; 3 held for a
person; 75 a retryable error. With --json the last line of standard output is one JSON value, and
all messages for people go to standard error.
"""

from __future__ import annotations

import typer

from nocturne.cli import looking, maintenance, nights, project, registering
from nocturne.host.garbage import collect_rarely
from nocturne.logs import to_stderr

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Batch scoring, published exactly once.",
)


@app.callback()
def show_log(context: typer.Context) -> None:
    context.with_resource(to_stderr())
    collect_rarely()


for commands in (nights.app, looking.app, maintenance.app, registering.app, project.app):
    app.add_typer(commands)
