"""Finds settings of the machine that break Spark, and replaces them for a local Spark.

Nocturne starts all of a local Spark (master ``local[...]``), from the JVM to the workers. So it
does not inherit settings for another Spark or another Python, and needs neither a host name nor an
entry in ``/etc/passwd``. Settings for a cluster are left to the people who run it.

This module needs only the standard library and our errors, since Airflow's tasks use it too.
"""

from __future__ import annotations

import locale
import os
import pwd
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nocturne.errors import ConfigError

__all__ = [
    "Remark",
    "adapt",
    "cores_without_spark",
    "hadoop_login",
    "is_local",
    "local_environment",
    "remarks",
    "usable_cores",
]

_CGROUP = Path("/sys/fs/cgroup")
_NONE = re.compile(r"none(\[(\*|(?P<cores>[1-9]\d{0,3}))\])?")
_UTF8 = "C.UTF-8"
_PYTHONS = ("PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON")


@dataclass(frozen=True)
class Remark:
    """A setting that breaks Spark.

    Attributes:
        name: what is wrong: a variable, the user, the locale ...
        actual: its value, as text.
        instead: what a local Spark uses in its place; "" if nothing can replace it.
        fix: how to correct it.
        variables: environment variables to set for a local Spark.
    """

    name: str
    actual: str
    instead: str
    fix: str
    variables: dict[str, str] = field(default_factory=dict)


def is_local(master: str | None) -> bool:
    """Whether driver, executors and workers are on one machine."""
    return master is not None and master.startswith(("local", "none"))


def cores_without_spark(master: str | None) -> int | None:
    """The cores that score if ``master`` says that Spark does not; None if Spark does.

    Raises:
        ConfigError: it is none of ``none``, ``none[*]`` and ``none[N]``.
    """
    if master is None or not master.startswith("none"):
        return None
    match = _NONE.fullmatch(master)
    if match is None:
        raise ConfigError(
            f"spark.master: got {master!r}, expected none or none[N], with N cores to score on "
            "without Spark; or a master of Spark's, such as local[*]"
        )
    return int(match["cores"]) if match["cores"] else usable_cores()


def usable_cores() -> int:
    """The processor cores that this process may use; a container's share is rounded up, as Java
    does.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst (cpu.max) and
    scheduler/sched-bwc.rst (cpu.cfs_quota_us).
    """
    cores = len(os.sched_getaffinity(0))
    with suppress(OSError, ValueError):
        v2, v1 = _CGROUP / "cpu.max", _CGROUP / "cpu"
        if v2.exists():
            quota, period = v2.read_text(encoding="ascii").split()
        else:
            quota, period = (
                (v1 / f"cpu.cfs_{name}_us").read_text(encoding="ascii")
                for name in ("quota", "period")
            )
        if int(quota) > 0:
            cores = min(cores, -(-int(quota) // int(period)))
    return cores


def local_environment(environ: Mapping[str, str], python: str = sys.executable) -> dict[str, str]:
    """The variables to set for a local Spark.

    Args:
        python: the interpreter with Nocturne's jobs.
    """
    variables = dict.fromkeys(_PYTHONS, python)
    if not environ.get("SPARK_LOCAL_HOSTNAME"):
        variables["SPARK_LOCAL_IP"] = environ.get("SPARK_LOCAL_IP") or "127.0.0.1"
    for remark in _local_remarks(environ, python):
        variables |= remark.variables
    return variables


def adapt(master: str | None) -> None:
    """Set the variables in this process before it starts a JVM, if ``master`` is local.

    The workers of any other master run this interpreter too, unless another one is configured.
    """
    if is_local(master):
        os.environ.update(local_environment(os.environ))
    for name in _PYTHONS:
        os.environ.setdefault(name, sys.executable)


def hadoop_login(jvm: Any) -> None:
    """Set the user name in a JVM if the system has none: Hadoop can't log in without a name.

    Args:
        jvm: Py4J's view of the JVM.
    """
    if _login_name() is None:
        users = jvm.org.apache.hadoop.security.UserGroupInformation
        users.setLoginUser(users.createRemoteUser(_substitute_name(os.environ)))


def remarks(environ: Mapping[str, str], python: str = sys.executable) -> list[Remark]:
    """All settings of this machine that break Spark."""
    return [*_local_remarks(environ, python), *_host(environ), *_folders(environ), *_names()]


def _local_remarks(environ: Mapping[str, str], python: str) -> Iterator[Remark]:
    for check in _CHECKS:
        yield from check(environ, python)


def _spark_home(environ: Mapping[str, str], python: str) -> Iterator[Remark]:
    configured = environ.get("SPARK_HOME")
    if not configured:
        return
    own = _own_spark(python)
    if own is None or _same(Path(configured), own):
        return
    version, own_version = _spark_version(Path(configured)), _spark_version(own)
    if version == own_version:
        return
    contents = f"Spark {version}" if version else "no Spark"
    yield Remark(
        "SPARK_HOME",
        f"{configured} ({contents}); pyspark here is {own_version}",
        f"{own} is used",
        "unset SPARK_HOME",
        {"SPARK_HOME": str(own)},
    )


def _pythons(environ: Mapping[str, str], python: str) -> Iterator[Remark]:
    for name in _PYTHONS:
        configured = environ.get(name)
        program = shutil.which(configured, path=environ.get("PATH")) if configured else None
        if not configured or (program and _same_python(Path(program), Path(python))):
            continue
        yield Remark(
            name,
            f"{configured} ({'another interpreter' if program else 'there is no such program'})",
            f"{python} is used",
            f"unset {name}",
            {name: python},
        )


def _user(environ: Mapping[str, str], python: str) -> Iterator[Remark]:
    if _login_name() is None:
        # Java has no home folder for such a user either, and Spark's Ivy needs one to start.
        name, options = _substitute_name(environ), environ.get("SPARK_SUBMIT_OPTS", "")
        yield Remark(
            "user",
            f"uid {os.geteuid()} has no entry in /etc/passwd",
            f"it is called {name}",
            "add one (in a container: `RUN useradd --uid ...`)",
            {n: name for n in ("SPARK_USER", "USER", "LOGNAME") if not environ.get(n)}
            | {"SPARK_SUBMIT_OPTS": f"-Duser.home={_home(environ)} {options}".strip()},
        )


def _locale(environ: Mapping[str, str], python: str) -> Iterator[Remark]:
    encoding = locale.getencoding()
    if encoding.upper().replace("-", "") != "UTF8":
        yield Remark(
            "locale",
            f"its encoding is {encoding}",
            f"Java and the workers run in {_UTF8}",
            f"export LC_ALL={_UTF8}",
            {"LC_ALL": _UTF8, "PYTHONUTF8": "1"},
        )


_CHECKS: tuple[Callable[[Mapping[str, str], str], Iterator[Remark]], ...] = (
    _spark_home,
    _pythons,
    _user,
    _locale,
)


def _host(environ: Mapping[str, str]) -> Iterator[Remark]:
    if environ.get("SPARK_LOCAL_IP") or environ.get("SPARK_LOCAL_HOSTNAME"):
        return
    name = socket.gethostname()
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        yield Remark(
            "host name",
            f"{name} does not resolve to an address",
            "127.0.0.1 is used",
            f"add `127.0.0.1 {name}` to /etc/hosts, or set SPARK_LOCAL_IP",
        )


def _folders(environ: Mapping[str, str]) -> Iterator[Remark]:
    java_folder = "/tmp"  # noqa: S108
    for folder in dict.fromkeys((environ.get("TMPDIR") or java_folder, java_folder)):
        try:
            with tempfile.NamedTemporaryFile(dir=folder):
                pass
        except OSError as error:
            yield Remark(
                "temporary files",
                f"nothing can be written in {folder}: {error.strerror}",
                "",
                "make it a writable folder"
                + (
                    "; Java writes there even if TMPDIR is set"
                    if folder == java_folder
                    else ", or unset TMPDIR"
                ),
            )


def _names() -> Iterator[Remark]:
    encoding = sys.getfilesystemencoding()
    if encoding != "utf-8":
        yield Remark(
            "file names",
            f"Python takes them for {encoding}",
            "",
            f"export LC_ALL={_UTF8}, or PYTHONUTF8=1",
        )


def _login_name() -> str | None:
    with suppress(KeyError):
        return pwd.getpwuid(os.geteuid()).pw_name
    return None


def _substitute_name(environ: Mapping[str, str]) -> str:
    names = ("HADOOP_USER_NAME", "SPARK_USER", "USER", "LOGNAME")
    return next(filter(None, map(environ.get, names)), f"uid{os.geteuid()}")


def _home(environ: Mapping[str, str]) -> str:
    home = environ.get("HOME", "")
    return shlex.quote(home) if Path(home).is_absolute() else tempfile.gettempdir()


def _own_spark(python: str) -> Path | None:
    """The Spark inside the interpreter's pyspark; None if there is none."""
    origin: str | None
    if python == sys.executable:
        spec = find_spec("pyspark")
        origin = spec.origin if spec else None
    else:
        code = "import importlib.util as u; print(u.find_spec('pyspark').origin)"
        result = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
        origin = result.stdout.strip() or None
    folder = Path(origin).parent if origin else None
    return folder if folder and (folder / "bin" / "spark-submit").is_file() else None


def _spark_version(home: Path) -> str | None:
    for jar in (home / "jars").glob("spark-core_*.jar"):
        if match := re.search(r"-(\d[\w.]*)\.jar$", jar.name):
            return match[1]
    return None


def _same(first: Path, second: Path) -> bool:
    with suppress(OSError):
        return first.samefile(second)
    return False


def _same_python(first: Path, second: Path) -> bool:
    """Whether both are the same program of the same environment.

    The programs of two environments may be links to the same file.
    """
    return _same(first, second) and _same(first.parent, second.parent)
