"""``python -m benchmarks``: measure, or turn what was measured into the published tables."""

from __future__ import annotations

import argparse
import datetime as dt
import os

from benchmarks import flights, journal, report
from benchmarks.contenders import CONTENDERS
from benchmarks.harness import Session
from benchmarks.layout import RESULTS, Layout
from benchmarks.machine import machine
from benchmarks.prepare import prepare
from benchmarks.workloads import WORKLOADS, sized

ALL = [*WORKLOADS, "flights"]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--workload", default=",".join(ALL), help="comma-separated; default: all")
    add("--contenders", help="comma-separated; default: all that can score the table")
    add("--pairs", type=int, default=5, help="rounds, of a small and a large run each")
    add("--rows", help="small,large size in Mi (1,048,576) rows, e.g. 8,24")
    add("--file-rows", type=int, help="rows a file; default: the workload's")
    add("--processes", type=int, default=2)
    add("--quick", action="store_true", help="0.25 and 0.75 Mi rows, one pair: does it work?")
    add("--resume", action="store_true", help="go on with the last session of each workload")
    add("--write", action="store_true", help="publish the figures of a part of the contenders")
    add("--report", action="store_true", help="run nothing; publish the last session")
    return parser.parse_args()


def main() -> None:
    args, layout = _arguments(), Layout()
    for name in args.workload.split(","):
        if name not in ALL:
            raise SystemExit(f"--workload {name}: expected some of {', '.join(ALL)}")
        last = journal.last_session(layout.runs, name)
        session = last if (args.resume or args.report) and last else _new()
        if not args.report:
            _run(args, layout, name, session)
        _publish(args, layout, name, session)


def _able(name: str) -> list[str]:
    """The contenders that can score a workload's table."""
    return [c for c, found in CONTENDERS.items() if WORKLOADS[name].table in found.tables]


def _new() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ")


def _run(args: argparse.Namespace, layout: Layout, name: str, session: str) -> None:
    rounds = 1 if args.quick else args.pairs
    if name == "flights":
        flights.prepare(layout, args.processes)
        flights.FlightsSession(layout, session, args.processes, not args.quick).run(rounds)
        return
    workload = WORKLOADS[name]
    if args.quick or args.rows or args.file_rows:
        text = args.rows or ("0.25,0.75" if args.quick else "8,24")
        small, large = (float(part) for part in text.split(","))
        workload = sized(workload, (small, large), args.file_rows or (args.quick and 1 << 16))
    chosen = args.contenders.split(",") if args.contenders else _able(name)
    if unknown := set(chosen) - set(_able(name)):
        raise SystemExit(f"--contenders {unknown}: expected some of {', '.join(_able(name))}")
    if (os.cpu_count() or 1) < args.processes:
        raise SystemExit(f"--processes {args.processes}: there are {os.cpu_count()} cores")
    prepare(layout, workload, args.processes)
    Session(layout, workload, session, args.processes).run(chosen, rounds)


def _publish(args: argparse.Namespace, layout: Layout, name: str, session: str) -> None:
    runs = [run for run in journal.read(layout.runs, session) if run["workload"] == name]
    made = report.entries(runs, name)
    print(f"\n{name}, session {session}\n{report.markdown(runs, name)}\n", flush=True)
    whole = name == "flights" or {entry["contender"] for entry in made} == set(_able(name))
    if made and (args.write or (whole and not args.quick)) and all(run["standard"] for run in runs):
        report.save(made, machine(args.processes))
        report.write_page(runs, name)
        print(f"written: {RESULTS / 'cpu.json'}, {report.PAGE}", flush=True)


if __name__ == "__main__":
    main()
