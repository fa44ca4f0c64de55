"""The JVM's class-data archive: Spark's classes, parsed and verified once for this environment.

A JVM that maps the archive creates a Spark context in half the time. The archive fits one JVM and
one set of jars, so its name contains both. The name also contains its size, since a JVM crashes on
a truncated archive. The JVM detects any other mismatch and then starts without the archive.

The first application writes the archive when its JVM ends (``-XX:ArchiveClassesAtExit``, JDK 13
and newer). That takes some seconds, once for each environment.
"""

from __future__ import annotations

import os
import re
import shlex
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nocturne.host import cache
from nocturne.store.files import digest

__all__ = ["Archive", "find"]

# Otherwise the JVM logs hundreds of lines about what it leaves out of an archive.
_QUIET = "-Xlog:cds=off -Xlog:cds+dynamic=off -Xlog:class+path=off"

_OLD_S = 3600.0


@dataclass(frozen=True)
class Archive:
    """The archive of one JVM and one set of jars; it may not exist yet.

    Attributes:
        stem: its path without the size.
    """

    stem: Path

    @property
    def path(self) -> Path | None:
        """The file, if it exists and is complete."""
        for path in self.stem.parent.glob(f"{self.stem.name}-*.jsa"):
            size = re.search(r"-(\d+)\.jsa$", path.name)
            if size and path.stat().st_size == int(size[1]) > 0:
                return path
        return None

    @property
    def is_missing(self) -> bool:
        """Whether it does not exist and no attempt to make it has failed."""
        return self.path is None and not self._failed.exists()

    def use(self) -> str:
        """JVM options to start with the archive; "" if it does not exist."""
        return f"-XX:SharedArchiveFile={shlex.quote(str(self.path))} {_QUIET}" if self.path else ""

    def make(self) -> str:
        """JVM options to write the archive when the JVM ends; call ``keep`` afterwards."""
        return f"-XX:ArchiveClassesAtExit={shlex.quote(str(self._draft))} {_QUIET}"

    def keep(self, exit_code: int) -> bool:
        """Rename the file of the ended JVM; if there is none, making it is not tried again."""
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
        """Remove the archive, since a JVM could not start with it."""
        with suppress(OSError):
            self._failed.touch()
            if self.path:
                self.path.unlink()

    def discard(self) -> None:
        """Remove the file of a JVM that failed for another reason; the next one makes it."""
        with suppress(OSError):
            self._draft.unlink(missing_ok=True)

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
    """The archive for this java and the installed pyspark; None if there is no place for it.

    Args:
        class_path: the class path before Spark's own.
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
    # The key has the path: a JVM refuses the archive for the same jars in another place.
    return digest(jvm, str(home), str(home.resolve()), jars, class_path)[:16]
