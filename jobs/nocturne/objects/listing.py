"""Prefixes of a store that are listed once, and then taken to be so while something is read.

The status of a year of nights would take a request a night otherwise. What an object was when it
was listed is known by its tag, so its bytes are kept on this machine (``host.cache``) and fetched
once.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType

from nocturne.host import cache
from nocturne.objects.path import ObjectPath
from nocturne.objects.together import together

__all__ = [
    "Listing",
    "is_kept",
    "is_listed",
    "kept",
    "known",
    "listed",
    "listing_of",
    "unlisted",
]

_MOST_BYTES = 16 << 20
"""A larger object is not kept."""
_DIGEST = 32
"""Bytes of the hash before what is kept."""


@dataclass(frozen=True)
class Listing:
    """What is below a prefix: path -> the object, and folder -> what is directly in it."""

    objects: Mapping[ObjectPath, ObjectPath]
    inside: Mapping[ObjectPath, tuple[list[ObjectPath], list[ObjectPath]]]

    @classmethod
    def of(cls, prefix: ObjectPath) -> Listing:
        """Raises: StoreUnavailable, ConfigError."""
        objects = {path: path for path in prefix.below()}
        folders = dict[ObjectPath, set[ObjectPath]]()
        files = dict[ObjectPath, list[ObjectPath]]()
        for path in sorted(objects):
            files.setdefault(path.parent, []).append(path)
            inner = path.parent
            while inner != prefix and inner.key:
                folders.setdefault(inner.parent, set()).add(inner)
                inner = inner.parent
        inside = {
            folder: (sorted(folders.get(folder, ())), files.get(folder, []))
            for folder in folders.keys() | files.keys()
        }
        return cls(objects, inside)


_NONE: Mapping[ObjectPath, Listing] = MappingProxyType({})
_listings: ContextVar[Mapping[ObjectPath, Listing]] = ContextVar("listings", default=_NONE)


@contextmanager
def listed(*prefixes: ObjectPath) -> Iterator[None]:
    """List the prefixes; within the block, what is below them is what was listed.

    Raises:
        StoreUnavailable, ConfigError: the store does not answer, or refuses.
    """
    if not prefixes:
        yield
        return
    found = dict(zip(prefixes, together(Listing.of, prefixes), strict=True))
    token = _listings.set({**_listings.get(), **found})
    try:
        yield
    finally:
        _listings.reset(token)


@contextmanager
def unlisted() -> Iterator[None]:
    """Within the block, the store is asked again."""
    token = _listings.set(_NONE)
    try:
        yield
    finally:
        _listings.reset(token)


def is_listed() -> bool:
    """Whether something is taken to be as it was listed."""
    return bool(_listings.get())


def listing_of(path: ObjectPath) -> Listing | None:
    """The listing that has a path, if its prefix is listed."""
    listings = _listings.get()
    if not listings:
        return None
    return next((listings[p] for p in (path, *path.parents) if p in listings), None)


def known(path: ObjectPath) -> ObjectPath | None:
    """The object as it was listed; None if its prefix is not listed.

    Raises:
        FileNotFoundError: it was not there.
    """
    listing = listing_of(path)
    if listing is None:
        return None
    if (found := listing.objects.get(path)) is None:
        raise FileNotFoundError(errno.ENOENT, "there is no such object", str(path))
    return found


def is_kept(path: ObjectPath) -> bool:
    """Whether a listed object is small enough to be kept."""
    return path.stat_ is not None and path.stat_.st_size <= _MOST_BYTES


def kept(path: ObjectPath, fetch: Callable[[], bytes]) -> bytes:
    """The bytes of a listed object, from this machine if they were fetched before."""
    if path.stat_ is None or not is_kept(path):
        return fetch()
    key = sha256(f"{path}\n{path.stat_.tag}".encode()).hexdigest()
    try:
        file = cache.fetched("objects") / key[:2] / key
    except OSError:
        return fetch()
    with suppress(OSError):
        stored = file.read_bytes()
        if stored[:_DIGEST] == sha256(stored[_DIGEST:]).digest():
            return stored[_DIGEST:]
    data = fetch()
    if len(data) == path.stat_.st_size:  # else it was replaced since
        cache.keep(file, sha256(data).digest() + data)
    return data
