"""Accepts paths on a local file system and refuses URIs.

Python reads ``s3://lake/x`` as the relative path ``s3:/lake/x``, a folder that does not exist.
"""

from __future__ import annotations

import re

from nocturne.errors import ConfigError
from nocturne.model.tracking import without_secret

__all__ = ["check_local", "local_path"]

_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*):/")
"""Also the form with one slash, which Hadoop writes (file:/data, dbfs:/data)."""


def local_path(text: str) -> str:
    """The text itself, for pydantic.

    Raises:
        ValueError: it has a scheme.
    """
    scheme = _SCHEME.match(text)
    if scheme is None:
        return text
    if scheme[1].lower() == "file":
        raise ValueError("URIs are not supported; write the path without file: (/data/x)")
    raise ValueError(
        f"the scheme {scheme[1]}: is not supported, only paths on a local file system are, such as "
        "data/x or /data/x. Mount the store or copy the files, and name that folder"
    )


def check_local(key: str, text: str) -> None:
    """Check the path in the option ``key``.

    Raises:
        ConfigError: the path has a scheme.
    """
    try:
        local_path(text)
    except ValueError as error:
        raise ConfigError(f"{key}: got {without_secret(repr(text))}: {error}") from None
