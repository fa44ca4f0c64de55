"""Decides how the command line starts the driver's JVM: lean, and from a class-data archive."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nocturne.host import java
from nocturne.host.machine import is_local
from nocturne.spark.start import archive
from nocturne.spark.start.archive import Archive

if TYPE_CHECKING:
    from pyspark import SparkContext

__all__ = ["Launch", "plan"]

_OPTIONS = "spark.driver.extraJavaOptions"
_CLASS_PATH = "spark.driver.extraClassPath"
_OPTIONS_VARIABLES = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS")
_LOG = "log4j2.properties"
_ENVIRONMENT = "spark-env.sh"
"""Spark's scripts read it from there."""
_ARCHIVE_S = 120.0

# The second compiler and a parallel collector take the cores from the workers while they warm
# up, 3 of 8 seconds of CPU until the first job is done; without rows to carry they never pay.
_LEAN = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"


@dataclass(frozen=True)
class Launch:
    """How a JVM is started.

    Attributes:
        conf: ``spark.*`` settings.
        environment: variables for the JVM and the workers.
        archive: the class-data archive to make or to use, if there is one.
        making: whether this JVM makes the archive.
    """

    conf: dict[str, str]
    environment: dict[str, str] = field(default_factory=dict)
    archive: Archive | None = None
    making: bool = False

    def plain(self) -> Launch:
        """The same without the archive."""
        return Launch(self.conf, self.environment)

    def settings(self) -> dict[str, str]:
        """All ``spark.*`` settings, with the options for the archive."""
        options = ""
        if self.archive is not None:
            options = self.archive.make() if self.making else self.archive.use()
        configured = self.conf.get(_OPTIONS, "")
        joined = f"{options} {configured}".strip()
        return {**self.conf, _OPTIONS: joined} if joined else self.conf

    def start(
        self, new: Callable[[Mapping[str, str]], SparkContext]
    ) -> tuple[SparkContext, Launch]:
        """Start a new context; an archive with which the JVM can't start is removed.

        Args:
            new: creates the context with the given settings.

        Returns:
            The context, and how it was started.
        """
        from pyspark.errors import PySparkRuntimeError

        try:
            return new(self.settings()), self
        except PySparkRuntimeError:
            if self.archive is None:
                raise
            plain = self.plain()
            context = new(plain.settings())
            self.archive.drop()  # without it the JVM starts, so the archive was at fault
            return context, plain

    def end(self) -> None:
        """If the JVM makes the archive, end the JVM and wait: it writes the archive at its end."""
        from pyspark import SparkContext

        gateway = SparkContext._gateway
        process: subprocess.Popen[bytes] | None = getattr(gateway, "proc", None)
        if not self.making or gateway is None or process is None or self.archive is None:
            return
        SparkContext._gateway = SparkContext._jvm = None
        gateway.shutdown()
        if process.stdin is not None:
            process.stdin.close()
        try:
            code = process.wait(_ARCHIVE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        self.archive.keep(code)


def plan(
    master: str | None, conf: Mapping[str, str], conf_dir: Path | None, *, lean: bool = True
) -> Launch:
    """Decide how to start the JVM.

    Args:
        master: None under spark-submit: the JVM runs already, and only ``conf`` counts.
        conf: extra settings; their options come after ours and win.
        conf_dir: Spark's configuration folder, unless SPARK_CONF_DIR is set.
        lean: whether no rows go through the JVM.
    """
    if master is None:
        return Launch(dict(conf), _conf_dir(conf_dir))
    options, environment = [], {}
    if _only_log(conf_dir) and "SPARK_CONF_DIR" not in os.environ:
        # Not as SPARK_CONF_DIR: it is on the class path, and no archive works with a folder there.
        file = shlex.quote(str(Path(str(conf_dir)) / _LOG))
        options.append(f"-Dlog4j2.configurationFile={file}")
    else:
        environment = _conf_dir(conf_dir)
    configured = conf.get(_OPTIONS, "")
    if lean and is_local(master) and not _chooses_compiler_or_collector(configured):
        options.append(_LEAN)
    joined = " ".join([*options, configured]).strip()
    settings = {**conf, _OPTIONS: joined} if joined else dict(conf)
    if environment or any(_folders_on_class_path()):
        return Launch(settings, environment)
    class_archive = archive.find(java.find(), conf.get(_CLASS_PATH, ""))
    making = class_archive is not None and class_archive.is_missing
    return Launch(
        settings,
        environment,
        class_archive if making or (class_archive and class_archive.path) else None,
        making,
    )


def _conf_dir(conf_dir: Path | None) -> dict[str, str]:
    exists = conf_dir is not None and conf_dir.is_dir()
    return {"SPARK_CONF_DIR": str(conf_dir)} if exists else {}


def _only_log(conf_dir: Path | None) -> bool:
    """Whether the folder contains only the configuration of logging, besides people's scripts."""
    if conf_dir is None or not conf_dir.is_dir():
        return False
    names = [p.name for p in conf_dir.iterdir() if p.suffix != ".sh" or p.name == _ENVIRONMENT]
    return names == [_LOG]


def _chooses_compiler_or_collector(configured: str) -> bool:
    """Whether the options choose a compiler or collector: the JVM refuses a second collector."""
    all_options = [configured, *(os.environ.get(name, "") for name in _OPTIONS_VARIABLES)]
    return any(word in options for options in all_options for word in ("GC", "Tiered"))


def _folders_on_class_path() -> Iterator[str]:
    """Configuration folders that Spark's scripts put on the class path, if there is one."""
    import pyspark

    home = os.environ.get("SPARK_HOME") or str(Path(pyspark.__file__).parent)
    folders = [os.environ.get("SPARK_CONF_DIR") or f"{home}/conf"]
    folders += [os.environ.get(name, "") for name in ("HADOOP_CONF_DIR", "YARN_CONF_DIR")]
    for name in folders:
        if name and Path(name).is_dir() and any(Path(name).iterdir()):
            yield name
    if os.environ.get("SPARK_DIST_CLASSPATH"):
        yield "SPARK_DIST_CLASSPATH"
