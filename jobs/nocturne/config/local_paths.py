"""Accepts paths on a local file system and, where they can be read, URIs of object stores.

Python reads ``hdfs://lake/x`` as the relative path ``hdfs:/lake/x``, a folder that does not exist.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, StringConstraints
from pydantic_core import PydanticCustomError

from nocturne.config.section import HIDDEN_VALUE
from nocturne.errors import ConfigError
from nocturne.model.tracking import without_secret
from nocturne.objects import ObjectPath, is_uri
from nocturne.objects.path import SCHEMES

__all__ = ["PathOrUri", "PathText", "check_local", "local_path", "local_path_or_uri"]

_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*):/")
"""Also the form with one slash, which Hadoop writes (file:/data, dbfs:/data)."""
_STORE = re.compile(rf"\s*({'|'.join(SCHEMES)}):(?!//)", re.IGNORECASE)
_SECRET = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*:.*([?#@]|%(3F|23|40))", re.IGNORECASE | re.DOTALL)
"""A URI with what may be a user, a query or a fragment, quoted or not."""


def local_path(text: str) -> str:
    """The text itself, for pydantic.

    Raises:
        ValueError: it has a scheme.
    """
    _refuse_scheme(text, "only paths on a local file system are, such as data/x or /data/x")
    return text


def _hide_secrets(text: str) -> None:
    """Raises: PydanticCustomError if a URI has what may be a secret; it does not show the URI."""
    if _SECRET.match(text):
        raise PydanticCustomError(
            HIDDEN_VALUE,
            "a URI with a user, a query or a fragment in it; credentials belong in the "
            "environment (docs/stores.md), and no folder's name has such a sign here",
        )


def local_path_or_uri(text: str) -> str:
    """The text itself, for pydantic.

    Raises:
        ValueError: it has a scheme that is no object store's, or is no such URI.
    """
    if is_uri(text):
        _hide_secrets(text.replace("@", "", 1) if text.startswith("abfs") else text)
        ObjectPath.of(text)
        return text
    _refuse_scheme(
        text,
        "only s3://, gs://, az:// and abfs:// are, and paths on a local file system (/data/x)",
    )
    return text


def _refuse_scheme(text: str, supported: str) -> None:
    scheme = _SCHEME.match(text)
    if scheme is None and (store := _STORE.match(text)):
        _hide_secrets(text)
        raise ValueError(f"write {store[1].lower()}://bucket/folder, with two slashes")
    if scheme is None:
        return
    _hide_secrets(text)
    if scheme[1].lower() == "file":
        raise ValueError("URIs are not supported; write the path without file: (/data/x)")
    raise ValueError(
        f"the scheme {scheme[1]}: is not supported, {supported}. Mount the store or copy the "
        "files, and name that folder"
    )


def check_local(key: str, text: str) -> None:
    """Check the path in the option ``key``.

    Raises:
        ConfigError: the path has a scheme.
    """
    try:
        local_path(text)
    except PydanticCustomError as error:
        raise ConfigError(f"{key}: got {error.message()}") from None
    except ValueError as error:
        raise ConfigError(f"{key}: got {without_secret(repr(text))}: {error}") from None


_OneLine = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00-\x1f]+$")]
PathText = Annotated[_OneLine, AfterValidator(local_path)]
PathOrUri = Annotated[_OneLine, AfterValidator(local_path_or_uri)]
