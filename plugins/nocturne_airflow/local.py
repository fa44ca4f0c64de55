"""A local Airflow and MLflow: ``python -m nocturne_airflow.local [run COMMAND...]``.

The servers end with this process, however it ends. They listen only on 127.0.0.1. Each project has
its own password, and all files are below var/.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from nocturne.config import home as project_home
from nocturne.errors import NocturneError
from nocturne_airflow.environment import USER, Ports, environment
from nocturne_airflow.stack import STOP_SIGNALS, Stack, running

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Start the stack and show its URLs, or run a command in it; then end it."""
    parser = argparse.ArgumentParser(prog="python -m nocturne_airflow.local", description=__doc__)
    parser.add_argument("--port", type=int, default=8080, help="Airflow's port; 0: any free one")
    parser.add_argument("--mlflow-port", type=int, default=5000, help="MLflow's; 0: any free one")
    commands = parser.add_subparsers(dest="what")
    run = commands.add_parser(
        "run",
        help="run a command in the environment of this project's running Airflow; if none runs, "
        "start one until the command ends",
    )
    run.add_argument("command", nargs=argparse.REMAINDER, help="the command and its arguments")
    options = parser.parse_args(argv)
    if options.what == "run" and not options.command:
        parser.error("run: got no command; e.g. run airflow dags list")
    for number in STOP_SIGNALS[1:]:
        signal.signal(number, lambda n, _: sys.exit(128 + n))
    try:
        root = project_home()
        ports = running(root)
        if options.what == "run" and ports is not None:
            env = environment(root, ports)
            return subprocess.run(options.command, env=env, check=False).returncode
        with Stack(root, Ports(options.port, options.mlflow_port)) as stack:
            if options.what == "run":
                return subprocess.run(options.command, env=stack.env, check=False).returncode
            print(
                f"\nAirflow  {stack.ports.airflow_url}   user {USER}, password {stack.password()}\n"
                f"MLflow   {stack.ports.mlflow_url}\n"
                f"Logs     {stack.log('*')}\n\nCtrl-C ends both.",
                flush=True,
            )
            while True:
                stack.check()
                time.sleep(1)
    except KeyboardInterrupt:
        print("\nEnded.")
        return 0
    except NocturneError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
