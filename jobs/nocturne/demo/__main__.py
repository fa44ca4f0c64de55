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
    folder = loaded.path(loaded.pipeline.input.path).parent
    started = time.perf_counter()
    tables = prepare(folder)
    rows = f"{sum(tables.rows.values()):,} flights in {len(tables.rows)} days"
    print(f"data   {rows}, {tables.flights}: {_did(tables.written > 0, started)}", flush=True)

    started = time.perf_counter()
    named = uris(loaded.pipeline.registry, loaded.home)
    made, shown = champion(folder, **named), without_secret(named["registry_uri"])
    print(
        f"model  {MODEL} version {made.version} ({ALIAS}), {shown}: {_did(made.made, started)}\n"
        f"       AUC on April {made.auc_april:.4f}; a logistic regression of the same features "
        f"has {made.logistic_april:.4f}"
    )


def _did(made: bool, started: float) -> str:
    return f"made in {time.perf_counter() - started:.0f} s" if made else "was there already"


if __name__ == "__main__":
    sys.exit(main())
