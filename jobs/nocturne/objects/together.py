"""Several requests to a store at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["TRANSFERS", "together"]

T = TypeVar("T")

_REQUESTS = 16
TRANSFERS = 8
"""Files sent or fetched at once: a large one goes as up to 12 parts of 5 MB that are in memory."""


def together(
    work: Callable[..., T], *arguments: Iterable[Any], at_once: int = _REQUESTS
) -> list[T]:
    """``list(map(work, *arguments))``, in threads.

    Raises: the first error of ``work``, after the requests that were under way.
    """
    with ThreadPoolExecutor(at_once) as threads:
        return list(threads.map(work, *arguments))
