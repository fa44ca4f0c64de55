"""Which files run in one process, since they share a server, and which of them run first.

The longest first, so that no process is left with a long one at the end. A file that is not
named here takes little, and comes after those that are.
"""

from __future__ import annotations

__all__ = ["LONGEST", "group", "place"]

LONGEST = (("tests/e2e/",),)


def group(file: str) -> str:
    """A name for the files that run in one process with this one."""
    at = _index(file)
    return file if at is None else str(LONGEST[at][0])


def place(file: str) -> int:
    """When a file runs: the smaller, the earlier."""
    at = _index(file)
    return len(LONGEST) if at is None else at


def _index(file: str) -> int | None:
    return next((n for n, files in enumerate(LONGEST) if file.startswith(files)), None)
