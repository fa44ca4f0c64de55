"""``python -m nocturne.demo prepare``: the demo's tables and its model, if they are not there."""

from __future__ import annotations

import argparse
import os
import sys
import time

from nocturne import config
from nocturne.demo.champion import ALIAS, MODEL, champion
from nocturne.demo.flights import prepare
from nocturne.errors import NocturneError
from nocturne.model.tracking import uris, without_secret
from nocturne.objects import is_uri


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m nocturne.demo", description=__doc__)
    parser.add_argument("command", choices=["prepare"], help="make the tables and the model")
    parser.parse_args()
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    try:
        _prepare()
    except NocturneError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _prepare() -> None:
    loaded = config.load("flight_delay")
    reads = loaded.pipeline.input.path
    folder = loaded.path(_FOLDER if is_uri(reads) else reads).parent
    started = time.perf_counter()
    tables = prepare(folder)
    rows = f"{sum(tables.rows.values()):,} flights in {len(tables.rows)} days"
    print(f"data   {rows}, {tables.flights}: {_outcome(tables.written > 0, started)}", flush=True)

    started = time.perf_counter()
    servers = uris(loaded.pipeline.registry, loaded.home)
    model, registry = champion(folder, **servers), without_secret(servers["registry_uri"])
    print(
        f"model  {MODEL} version {model.version} ({ALIAS}), {registry}: "
        f"{_outcome(model.made, started)}\n"
        f"       AUC on April {model.auc_april:.4f}; a logistic regression of the same features "
        f"has {model.logistic_april:.4f}"
    )


_FOLDER = "var/demo/flights"
"""Where the demo's data are made, if its pipeline reads them elsewhere."""


def _outcome(was_made: bool, started: float) -> str:
    return f"made in {time.perf_counter() - started:.0f} s" if was_made else "was there already"


if __name__ == "__main__":
    sys.exit(main())
