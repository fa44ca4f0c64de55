"""Ours: ``nocturne score`` as anyone runs it, from plan to publish, everything on.

The pipeline's YAML, made by ``benchmarks.project``, names input, output and model; the input
folder's name says the date.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.contenders.arguments import parse
from benchmarks.project import catalog_of

SETTINGS: Mapping[str, str] = {}


def main(variant: str = "") -> None:
    """Args: variant: the end of the pipeline's name."""
    args = parse(SETTINGS)
    model = json.loads((args.model / "model.json").read_text(encoding="utf-8"))
    os.environ["NOCTURNE_HOME"] = model["project"]
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    os.environ["PYICEBERG_CATALOG__BENCH__URI"] = f"sqlite:///{catalog_of(args.output)}"
    command = str(Path(sys.executable).with_name("nocturne"))
    date = args.input.name.partition("=")[2]
    sys.stdout.flush()
    os.execv(command, [command, "score", model["nocturne"] + variant, "--date", date])


if __name__ == "__main__":
    main()
