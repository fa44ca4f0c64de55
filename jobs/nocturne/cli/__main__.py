"""``python -m nocturne.cli``: for callers that have the interpreter and no PATH."""

from nocturne.cli import app

app(prog_name="nocturne")
