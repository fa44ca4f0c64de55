"""The JVM's class-data archive: Spark's classes, parsed and verified once for this environment.

A JVM that maps it has a Spark context in half the time. It fits one JVM and one set of jars,
so both are in its name, and its size is too: a JVM crashes on one that was cut short. Any
other misfit the JVM notices itself, and starts as if there were none.

The first application makes it when its JVM ends (``-XX:ArchiveClassesAtExit``, JDK 13 and
newer), once everything else is done: some seconds, once for an environment.
"""

from __future__ import annotations

import os
import re
import shlex
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nocturne.store import cache
from nocturne.store.files import digest

__all__ = ["Archive", "find"]

# The JVM tells, in hundreds of lines, what it leaves out of an archive and why it takes none.
_QUIET = "-Xlog:cds=off -Xlog:cds+dynamic=off -Xlog:class+path=off"

_OLD_S = 3600.0


@dataclass(frozen=True)
class Archive:
    """The archive of one JVM and one set of jars, made or still to make.

    Attributes:
        stem: its path up to the size.
    """

    stem: Path

    @property
    def path(self) -> Path | None:
        """The file, if it is there and whole."""
        for path in self.stem.parent.glob(f"{self.stem.name}-*.jsa"):
            size = re.search(r"-(\d+)\.jsa$", path.name)
            if size and path.stat().st_size == int(size[1]) > 0:
                return path
        return None

    @property
    def is_missing(self) -> bool:
        """Whether nobody has made it yet, nor tried in vain."""
        return self.path is None and not self._failed.exists()

    def use(self) -> str:
        """JVM options to start with it; none if it is not made."""
        return f"-XX:SharedArchiveFile={shlex.quote(str(self.path))} {_QUIET}" if self.path else ""

    def make(self) -> str:
        """JVM options to make it when the JVM ends; ``keep`` is for afterwards."""
        return f"-XX:ArchiveClassesAtExit={shlex.quote(str(self._draft))} {_QUIET}"

    def keep(self, exit_code: int) -> bool:
        """Puts what the ended JVM left in its place; if that was nothing, it is not tried again."""
        try:
            size = self._draft.stat().st_size if self._draft.exists() and exit_code == 0 else 0
            if not size:
                self._failed.touch()
                return False
            os.replace(self._draft, self.stem.with_name(f"{self.stem.name}-{size}.jsa"))
            return True
        except OSError:
            return False
        finally:
            self._tidy()

    def drop(self) -> None:
        """Forget it: a JVM could not start with it."""
        with suppress(OSError):
            self._failed.touch()
            if self.path:
                self.path.unlink()

    def _tidy(self) -> None:
        """Removes this process's draft, and old ones of processes that were killed."""
        for path in self.stem.parent.glob(f".{self.stem.name}-*.tmp"):
            with suppress(OSError):
                if path == self._draft or time.time() - path.stat().st_mtime > _OLD_S:
                    path.unlink()

    @property
    def _draft(self) -> Path:
        return self.stem.with_name(f".{self.stem.name}-{os.getpid()}.tmp")

    @property
    def _failed(self) -> Path:
        return self.stem.with_name(f"{self.stem.name}.failed")


def find(java: str | None, class_path: str = "") -> Archive | None:
    """The archive for this java and the installed pyspark; None where it can't be kept.

    Args:
        class_path: what comes before Spark's own.
    """
    key = _key(java, class_path) if java else None
    folder = cache.folder()
    return None if key is None or folder is None else Archive(folder / f"spark-{key}")


def _key(java: str, class_path: str) -> str | None:
    import pyspark

    home = Path(os.environ.get("SPARK_HOME") or Path(pyspark.__file__).parent)
    modules = Path(java).resolve().parents[1] / "lib" / "modules"
    try:
        jvm = [str(modules), modules.stat().st_size, modules.stat().st_mtime_ns]
        jars = sorted((p.name, p.stat().st_size) for p in (home / "jars").glob("*.jar"))
    except OSError:
        return None
    # An environment that was copied has the same jars in another place: no JVM takes it there.
    return digest(jvm, str(home), str(home.resolve()), jars, class_path)[:16]
