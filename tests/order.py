"""Which files run in one process, since they share a server, and which of them run first."""

from __future__ import annotations

__all__ = ["group", "place"]

SHARED = {
    "Airflow": ("tests/e2e/",),
    "a Spark session": (
        "tests/pipeline/test_cli.py",
        "tests/pipeline/test_measuring.py",
        "tests/pipeline/test_night.py",
        "tests/pipeline/test_pyfunc.py",
        "tests/pipeline/test_query.py",
        "tests/pipeline/test_trial.py",
        "tests/pipeline/test_truth_sql.py",
        "tests/pipeline/test_udf.py",
        "tests/strangers/test_families.py",
        "tests/benchmarks/test_contenders.py",  # which would stop one of its own
    ),
}
LONGEST = (
    "Airflow",
    "tests/compose/test_services.py",
    "a Spark session",
    "tests/chaos/test_failpoints.py",
    "tests/test_tutorial.py",
    "tests/spark/test_application.py",
    "tests/processes/",
    "tests/chaos/test_maintenance.py",
    "tests/chaos/test_races.py",
    "tests/chaos/test_moments.py",
    "tests/chaos/test_inputs.py",
    "tests/pipeline/test_strange_machines.py",
    "tests/test_interrupted.py",
    "tests/chaos/test_disk.py",
    "tests/cli/test_init.py",
    "tests/cli/test_register.py",
    "tests/demo/",
    "tests/strangers/",
    "tests/chaos/",
    "tests/pipeline/",
)
"""So that no process is left with a long one at the end; what is not named takes little."""


def group(file: str) -> str:
    """A name for the files that run in one process with this one."""
    return next((name for name, files in SHARED.items() if file.startswith(files)), file)


def place(file: str) -> tuple[int, int]:
    """When a file runs: the smaller, the earlier."""
    name = group(file)
    first = next((n for n, prefix in enumerate(LONGEST) if name.startswith(prefix)), len(LONGEST))
    return first, next((n for n, one in enumerate(SHARED.get(name, ())) if file == one), 0)
