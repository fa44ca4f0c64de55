"""The package ``deltalake``, which is imported only where it is used."""

from __future__ import annotations

import re
from typing import Any

from nocturne.errors import PublishError
from nocturne.host.forks import Threaded
from nocturne.objects import Location, ObjectPath
from nocturne.objects import store as limits

__all__ = ["address", "library", "options"]

_deltalake = Threaded("deltalake", "delta", "the format delta needs", "a Delta table")


def library() -> Any:
    """The package ``deltalake``.

    Raises:
        ConfigError: it is not installed.
        StateError: this process was forked from one that has used it.
    """
    return _deltalake.load()


def address(folder: Location) -> str:
    """How the library is told of a folder.

    Raises:
        PublishError: it looks elsewhere, or panics, for such a path (deltalake 1.6).
    """
    odd = r"[\[\]^|\\\n]|%[0-9A-Fa-f]{2}"
    if isinstance(folder, ObjectPath):  # a URI: the library would open another table
        odd += r"|[?#\x00-\x1f\x7f]|\s$|\s(?=/)"
    if found := re.search(odd, str(folder)):
        raise PublishError(
            f"a Delta table can't be at {str(folder)!r}, since the library does not find paths "
            f"with {found[0]!r}. Choose another folder"
        )
    return str(folder)


def options(folder: Location) -> dict[str, str] | None:
    """The library's options for a folder; None for a local one. Credentials are the environment's.

    An endpoint without TLS is used only if it is given as http://.

    Raises:
        ConfigError: the credentials can't be used, of which the library would show too much.
    """
    if not isinstance(folder, ObjectPath):
        return None
    limits.store(folder)
    profile = {"aws_force_credential_load": "true"} if limits.has_profile(folder.root) else {}
    return profile | {
        "allow_http": "true",
        "timeout": f"{limits.TIMEOUT_S}s",
        "connect_timeout": "10s",
        "max_retries": str(limits.RETRIES),
        "retry_timeout": f"{limits.RETRY_S}s",
    }
