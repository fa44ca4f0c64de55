"""The package ``deltalake``, which is imported only where it is used."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from nocturne.errors import ConfigError, PublishError

__all__ = ["address", "library"]

_used_by: int | None = None
"""The process that used the library. Its threads are missing in processes forked from it."""


def library() -> Any:
    """The package ``deltalake``.

    Raises:
        ConfigError: it is not installed.
        PublishError: this process was forked from one that has used it.
    """
    global _used_by
    try:
        import deltalake
    except ImportError:
        raise ConfigError(
            "the format delta needs the package deltalake, which is not installed here: "
            "pip install 'nocturne[delta]'"
        ) from None
    if _used_by not in (None, os.getpid()):
        raise PublishError(
            "this process was forked from one that had opened a Delta table, and can't use it "
            "(the library's threads are gone). Start it anew (subprocess, or the start method "
            "spawn)"
        )
    _used_by = os.getpid()
    return deltalake


def address(folder: Path) -> str:
    """How the library is told of a folder.

    Raises:
        PublishError: it looks elsewhere, or panics, for such a path (deltalake 1.6).
    """
    if found := re.search(r"[\[\]^|\\\n]|%[0-9A-Fa-f]{2}", str(folder)):
        raise PublishError(
            f"a Delta table can't be at {str(folder)!r}, since the library does not find paths "
            f"with {found[0]!r}. Choose another folder"
        )
    return str(folder)
