"""Checks what a run needs, and says how to mend what is missing."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nocturne import config
from nocturne.errors import ConfigError, NocturneError, PublishError
from nocturne.host import java, machine
from nocturne.model.tracking import connect, reachable, uris, without_secret
from nocturne.objects import ObjectPath
from nocturne.operate.packages import model_packages
from nocturne.pipeline.places import Places
from nocturne.pipeline.scoring import launch_settings
from nocturne.processes import Processes
from nocturne.spark.probe import LaunchSettings, Started, probe

__all__ = ["Check", "check_all"]


@dataclass(frozen=True)
class Check:
    """One thing that a run needs: what was found, and what to do if that is wrong."""

    name: str
    ok: bool
    found: str
    fix: str


def _python() -> Iterator[Check]:
    fits = (3, 11, 2) <= sys.version_info < (3, 14)
    yield Check("Python", fits, _version(), "use Python 3.11 (.2 or later), 3.12 or 3.13")


def _version() -> str:
    return ".".join(map(str, sys.version_info[:3]))


def _java() -> Iterator[Check]:
    path = java.find()
    version = java.version(path) if path else None
    result = f"{version} ({path})" if version else path or "not on PATH, JAVA_HOME not set"
    fits, needed = (version or 0) >= 17, bool(_launch_settings())
    unneeded = "" if fits or needed else "; nothing needs it, as spark.master is none"
    yield Check("Java", fits or not needed, result + unneeded, java.ADVICE)


def _spark() -> Iterator[Check]:
    submit = shutil.which("spark-submit") or shutil.which(
        str(Path(sys.executable).with_name("spark-submit"))
    )
    yield Check(
        "spark-submit",
        submit is not None,
        submit or "not found",
        f"install pyspark in {sys.prefix} (`make setup`)",
    )
    clash = _installed("pyspark-client")
    yield Check(
        "pyspark-client",
        clash is None,
        clash or "absent, as it should be",
        "it overwrites pyspark's files: uninstall it, then reinstall pyspark",
    )


def _machine() -> Iterator[Check]:
    """Remarks about the machine. They are errors only if a pipeline uses a cluster.

    For a local Spark, Nocturne works around them.
    """
    local = all(machine.is_local(settings.master) for settings in _launch_settings())
    for remark in machine.remarks(os.environ):
        instead = f"; {remark.instead}" if local and remark.instead else ""
        yield Check(remark.name, bool(instead), remark.actual + instead, remark.fix)


def _spark_starts() -> Iterator[Check]:
    if not java.fit(java.find()):
        return  # _java reports this
    for settings in _launch_settings():
        outcome = probe(settings)
        title = f"Spark on {settings.master}"
        if isinstance(outcome, Started):
            result = (
                f"{outcome.spark} on Java {outcome.java}, a worker of Python {outcome.python} "
                f"imports nocturne: {outcome.seconds:.0f} s"
            )
            yield Check(title, True, result, "")
        else:
            result = f"{outcome.why} ({outcome.message})" if outcome.why else outcome.message
            yield Check(title, False, result, outcome.for_doctor)


def _processes_start() -> Iterator[Check]:
    masters = sorted({p.spark.master for p in _loaded() if _without_spark(p.spark.master)})
    for master in masters:
        began = time.monotonic()
        with Processes(1) as processes:
            processes.wait()
        result = (
            f"{machine.cores_without_spark(master)} cores; a process of Python {_version()} "
            f"imports nocturne: {time.monotonic() - began:.0f} s"
        )
        yield Check(f"no Spark, master {master}", True, result, "")


def _without_spark(master: str) -> bool:
    return machine.cores_without_spark(master) is not None


def _loaded() -> list[config.Pipeline]:
    root, pipelines = config.home(), []
    for name in config.names(root):
        with suppress(NocturneError):  # _pipelines reports this
            pipelines.append(config.load(name, root=root).pipeline)
    return pipelines


def _launch_settings() -> list[LaunchSettings]:
    """The settings with which the pipelines start Spark; without pipelines, the project's."""
    pipelines, root = _loaded(), config.home()
    settings = [launch_settings(p, p.spark.master) for p in pipelines]
    if not pipelines:
        spark = config.project_sections(root)[1]
        settings = [LaunchSettings(spark.master, spark.conf, root / "conf" / "spark")]
    with_spark = [launch for launch in settings if not _without_spark(str(launch.master))]
    return [launch for n, launch in enumerate(with_spark) if launch not in with_spark[:n]]


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _packages() -> Iterator[Check]:
    lock = config.home() / "requirements.lock"
    locked = {}
    if lock.is_file():
        for line in lock.read_text(encoding="utf-8").splitlines():
            name, _, version = line.partition("==")
            locked[name.strip()] = version.split(";")[0].strip()
    for name in ("apache-airflow", "pyspark", "mlflow", "torch", "pyarrow", "great-expectations"):
        installed = _installed(name)
        matches = installed is not None and (
            name not in locked or installed.split("+")[0] == locked[name]
        )
        yield Check(
            name,
            matches,
            installed or "not installed",
            f"the lock says {locked.get(name)}: `make setup`",
        )


def _registry() -> Iterator[Check]:
    root = config.home()
    servers = uris(config.project_sections(root)[0], root)
    tracking, registry = servers["tracking_uri"], servers["registry_uri"]
    client = connect(tracking, registry)

    def models() -> str:
        names = [model.name for model in client.search_registered_models(max_results=5)]
        return ", ".join(names) or "no model registered yet"

    def runs() -> str:
        names = [experiment.name for experiment in client.search_experiments(max_results=5)]
        return f"experiments {', '.join(names)}"

    if registry == tracking:
        yield _server_check("registry", tracking, models, "MLFLOW_TRACKING_URI")
    else:
        yield _server_check("registry", registry, models, "MLFLOW_REGISTRY_URI")
        yield _server_check("runs", tracking, runs, "MLFLOW_TRACKING_URI")


def _server_check(name: str, uri: str, ask: Callable[[], str], variable: str) -> Check:
    shown = without_secret(uri)
    advice = f"start MLflow (`make airflow` does), or correct {variable}"
    try:
        with reachable(uri):
            return Check(name, True, f"{shown}: {ask()}", advice)
    except ConfigError as error:
        return Check(name, False, str(error), advice)
    except Exception as error:
        return Check(name, False, f"{shown}: {type(error).__name__}", advice)


def _pipelines() -> Iterator[Check]:
    root = config.home()
    for name in config.names(root):
        try:
            loaded = config.load(name, root=root)
            places = Places.of(loaded)
        except NocturneError as error:
            yield Check(name, False, str(error), "correct the YAML")
            continue
        yield _readable(name, places)
        yield _publishable(name, places)


def _readable(name: str, places: Places) -> Check:
    title = f"{name}: input"
    try:
        exists = places.inputs.exists()
    except NocturneError as error:
        return Check(title, False, str(error), "see the message")
    return Check(title, exists, str(places.source), "correct input.path, or have the table written")


def _publishable(name: str, places: Places) -> Check:
    """Tests what publishing needs of the folders of the state and of the scores."""
    folder = places.state.table
    title = f"{name}: output"
    try:
        places.check()
    except (OSError, PublishError) as error:
        return Check(title, False, f"{folder}: {error}", "make it a writable local Linux folder")
    except NocturneError as error:  # of a catalog, or a library
        return Check(title, False, str(error), "see the message")
    disk = places.state.root if isinstance(folder, ObjectPath) else folder
    place = f"{folder}, its state in {disk}" if disk is not folder else str(folder)
    if isinstance(disk, ObjectPath):
        return Check(title, True, place, "")
    while not disk.exists():
        disk = disk.parent
    free = shutil.disk_usage(disk).free / 2**30
    return Check(title, True, f"{place}, {free:.0f} GiB free", "")


CHECKS: dict[str, Callable[[], Iterator[Check]]] = {
    "python": _python,
    "java": _java,
    "spark": _spark,
    "machine": _machine,
    "Spark": _spark_starts,
    "processes": _processes_start,
    "packages": _packages,
    "registry": _registry,
    "pipelines": _pipelines,
    "models": lambda: (Check(*found) for found in model_packages()),
}


def check_all() -> list[Check]:
    """The results of all checks. A check that can't be made counts as failed, with the reason."""
    done: list[Check] = []
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for name, check in CHECKS.items():
        try:
            done.extend(check())
        except NocturneError as error:
            done.append(Check(name, False, str(error), "see the message"))
        except Exception as error:
            traceback.print_exc()
            result = f"it can't be checked: {type(error).__name__}"
            done.append(Check(name, False, result, "see what is printed above"))
    return done
