"""``python -m nocturne.cli``: for callers that know the interpreter but have no PATH."""

from nocturne.cli import app

app(prog_name="nocturne")
