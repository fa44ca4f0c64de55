"""Looks for a Java that Spark 4 can run on; `make` runs this before it installs any package.

It needs only the standard library. Spark 4.3 needs Java 17 or newer with the module
jdk.incubator.vector.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["ADVICE", "find", "fit", "version"]

_PACKAGES = ("openjdk-17-jre-headless", "openjdk-21-jre-headless", "openjdk-25-jre-headless")
"""Debian 12 has the first, Debian 13 the second."""

_LIMIT_S = 60.0

ADVICE = """Spark needs Java 17 or newer. Install it with one of
  Debian, Ubuntu:  sudo apt-get install openjdk-17-jre-headless   (Debian 13: openjdk-21-...)
  macOS:           brew install openjdk@17
  conda:           conda install -c conda-forge openjdk=17
and see that `java -version` finds it, or set JAVA_HOME."""


def find() -> str | None:
    """The java that Spark would start: that of JAVA_HOME, or else of PATH."""
    home = os.environ.get("JAVA_HOME")
    return shutil.which(str(Path(home) / "bin" / "java")) if home else shutil.which("java")


def version(java: str) -> int | None:
    """The major version; None if java can't run, does not answer or lacks jdk.incubator.vector."""
    try:
        result = subprocess.run(
            [java, "--list-modules"],
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"^java\.base@(\d+)", result.stdout, re.MULTILINE)
    if match is None or "jdk.incubator.vector" not in result.stdout:
        return None
    return int(match.group(1))


def fit(java: str | None) -> bool:
    """Whether Spark can run on this java."""
    return java is not None and (version(java) or 0) >= 17


def _install() -> None:
    """Install the oldest Java 17 or newer that this release of Debian has."""
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "-qq", "update"], check=False)
    for package in _PACKAGES:
        simulation = subprocess.run(
            ["apt-get", "-qq", "--simulate", "install", package], capture_output=True, check=False
        )
        if simulation.returncode == 0:
            print(f"nocturne: no Java 17 or newer here: installing Debian's {package}", flush=True)
            install = ["apt-get", "-qq", "-y", "install", package]
            subprocess.run(install, check=False, env=environ)
            return


def main() -> int:
    """Exit code 0 if Spark can run on Java; with --install, root on Debian installs Java first."""
    java, debian = find(), Path("/etc/debian_version").exists()
    if not fit(java) and os.geteuid() == 0 and debian and "--install" in sys.argv:
        _install()
        java = find()
    if fit(java):
        return 0
    problem = f"found {java}, which is too old or lacks jdk.incubator.vector" if java else "no java"
    print(f"nocturne: {problem}. {ADVICE}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
