"""The arguments that all contenders share."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.tables import TABLES, Table

__all__ = ["Arguments", "parse"]


@dataclass(frozen=True)
class Arguments:
    """``input`` is a folder of Parquet files, ``output`` an empty one or none yet."""

    input: Path
    output: Path
    model: Path
    processes: int
    settings: Mapping[str, str]
    table_name: str = "numbers"

    @property
    def files(self) -> list[str]:
        return sorted(str(path) for path in self.input.glob("*.parquet"))

    @property
    def table(self) -> Table:
        return TABLES[self.table_name]

    def number(self, name: str) -> int:
        return int(self.settings[name])


def parse(settings: Mapping[str, str], argv: Sequence[str] | None = None) -> Arguments:
    """The command line; ``--set name=value`` changes one of the ``settings``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--table", choices=TABLES, default="numbers")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    given = parser.parse_args(argv)
    chosen = dict(settings)
    for text in given.set:
        name, _, value = text.partition("=")
        if name not in settings:
            parser.error(f"--set {name}: expected one of {', '.join(settings) or 'none'}")
        chosen[name] = value
    return Arguments(given.input, given.output, given.model, given.processes, chosen, given.table)
