"""Takes out of an environment's site-packages what no program of an image needs.

    python trim.py FOLDER PACKAGE...

The Dockerfile calls it in the steps that install them, so that no layer has it.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path


def tests(package: Path) -> None:
    """The package's own tests."""
    for folder in sorted(package.rglob("tests")):
        if folder.is_dir():
            shutil.rmtree(folder)


def pyarrow(package: Path) -> None:
    """Its tests, and headers for compilers that the image does not have."""
    tests(package)
    shutil.rmtree(package / "include")


def torch(package: Path) -> None:
    """Its tests, headers for compilers that the image does not have, and tables of symbols."""
    shutil.rmtree(package / "test")
    shutil.rmtree(package / "include")
    for program in (package / "bin").glob("test_*"):
        program.unlink()
    for name in ("libtorch_cpu.so", "libtorch_python.so"):
        subprocess.run(["strip", "--strip-unneeded", package / "lib" / name], check=True)


def pyspark(package: Path) -> None:
    """RocksDB's libraries for other systems and processors: 55 of its 72 MB."""
    own = {"x86_64": "linux64", "aarch64": "linux-aarch64"}.get(platform.machine())
    if own is None:
        return
    (jar,) = (package / "jars").glob("rocksdbjni-*.jar")
    small = jar.with_suffix(".small")
    with (
        zipfile.ZipFile(jar) as all_of_it,
        zipfile.ZipFile(small, "w", zipfile.ZIP_DEFLATED) as kept,
    ):
        for entry in all_of_it.infolist():
            if "librocksdbjni-" not in entry.filename or f"-{own}." in entry.filename:
                kept.writestr(entry, all_of_it.read(entry))
    small.replace(jar)


TRIMS = {"pyarrow": pyarrow, "pyspark": pyspark, "torch": torch}

if __name__ == "__main__":
    for name in sys.argv[2:]:
        TRIMS.get(name, tests)(Path(sys.argv[1]) / name)
