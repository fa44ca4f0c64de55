"""What a run needs, checked one by one, with the way to mend it."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nocturne import config, java
from nocturne.errors import NocturneError
from nocturne.files import check_exchange
from nocturne.layout import Layout
from nocturne.tracking import connect, tracking_uri, without_secret

__all__ = ["Check", "check_all"]


@dataclass(frozen=True)
class Check:
    """One thing that a run needs: what was found, and what to do if it is not right."""

    name: str
    ok: bool
    found: str
    fix: str


def _python() -> Iterator[Check]:
    found = ".".join(map(str, sys.version_info[:3]))
    fits = (3, 11, 2) <= sys.version_info < (3, 14)
    yield Check("Python", fits, found, "use Python 3.11 (.2 or later), 3.12 or 3.13")


def _java() -> Iterator[Check]:
    path = java.find()
    version = java.version(path) if path else None
    said = f"{version} ({path})" if version else path or "not on PATH, JAVA_HOME not set"
    yield Check("Java", (version or 0) >= 17, said, java.ADVICE)


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


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _packages() -> Iterator[Check]:
    lock = config.home() / "requirements.lock"
    wanted = {}
    if lock.is_file():
        for line in lock.read_text(encoding="utf-8").splitlines():
            name, _, version = line.partition("==")
            wanted[name.strip()] = version.split(";")[0].strip()
    for name in ("apache-airflow", "pyspark", "mlflow", "torch", "pyarrow", "great-expectations"):
        found = _installed(name)
        same = found is not None and (name not in wanted or found.split("+")[0] == wanted[name])
        yield Check(
            name, same, found or "not installed", f"the lock says {wanted.get(name)}: `make setup`"
        )


def _registry() -> Iterator[Check]:
    root = config.home()
    uri = tracking_uri(config.registry_uri(root), root)
    advice = "start MLflow (`make airflow` does), or correct MLFLOW_TRACKING_URI"
    try:
        client = connect(uri)
        names = [model.name for model in client.search_registered_models(max_results=5)]
    except Exception as error:
        yield Check("registry", False, f"{without_secret(uri)}: {type(error).__name__}", advice)
        return
    said = f"{without_secret(uri)}: {', '.join(names) or 'no model registered yet'}"
    yield Check("registry", True, said, advice)


def _pipelines() -> Iterator[Check]:
    root = config.home()
    for name in config.names(root):
        try:
            loaded = config.load(name, root=root)
            layout = Layout.of(loaded)
        except NocturneError as error:
            yield Check(name, False, str(error), "correct the YAML")
            continue
        yield Check(
            f"{name}: input",
            layout.source.is_dir(),
            str(layout.source),
            "correct input.path, or have the table written",
        )
        yield _publishable(name, layout)


def _publishable(name: str, layout: Layout) -> Check:
    """Tries the atomic exchange between the folders of the state and of the scores."""
    folder = layout.table
    title = f"{name}: output"
    try:
        check_exchange(layout.state, folder)
    except (OSError, NocturneError) as error:
        return Check(title, False, f"{folder}: {error}", "make it a writable local Linux folder")
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 2**30
    return Check(title, True, f"{layout.table}, {free:.0f} GiB free", "")


CHECKS: dict[str, Callable[[], Iterator[Check]]] = {
    "python": _python,
    "java": _java,
    "spark": _spark,
    "packages": _packages,
    "registry": _registry,
    "pipelines": _pipelines,
}


def check_all() -> list[Check]:
    """Every check; one that can't be made is a failed one with the reason."""
    done = []
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for name, check in CHECKS.items():
        try:
            done += list(check())
        except NocturneError as error:
            done.append(Check(name, False, str(error), "see the message"))
    return done
