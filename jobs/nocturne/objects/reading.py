"""Reads an object in parts, each on the condition that it is still the same object."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from nocturne.errors import StoreUnavailable
from nocturne.objects.path import Location, ObjectPath

__all__ = ["AHEAD", "ObjectFile", "native"]

_BLOCK = 8 << 20
"""The most bytes that are asked for at once; of each part that is announced, one block is held."""
AHEAD = 128 << 20
"""The most bytes of an announcement that are held."""
_REQUESTS = 8
"""Requests at once, for a file."""


@dataclass
class _Part:
    """A part that will be read from its start to its end, with the block that is held of it."""

    start: int
    end: int
    block: int
    at: int = 0
    held: Future[memoryview] | None = None


class ObjectFile(io.RawIOBase):
    """The bytes of a pinned object, as a file.

    Parts that were announced by ``will_need`` are fetched in threads, meanwhile others are
    decoded. What was not announced is fetched when it is read.
    """

    def __init__(self, path: ObjectPath) -> None:
        super().__init__()
        if path.stat_ is None:
            raise ValueError(f"{path} is not pinned")
        self.path, self.size, self._tag = path, path.stat_.st_size, path.stat_.tag
        self._position = 0
        self._announced: list[list[_Part]] = []
        self._threads: ThreadPoolExecutor | None = None

    @property
    def name(self) -> str:
        return str(self.path)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        data = self.read_buffer(len(target))
        target[: len(data)] = data
        return len(data)

    def read(self, size: int | None = -1) -> bytes:
        """Raises: InputChanged, StoreUnavailable, ConfigError."""
        return bytes(self.read_buffer(self.size if size is None or size < 0 else size))

    def read_buffer(self, size: int) -> memoryview:
        """As ``read``, without a copy if the bytes were fetched together. Arrow calls this."""
        end = min(self.size, self._position + size)
        pieces = []
        while self._position < end:
            pieces.append(self._some(self._position, end))
            self._position += len(pieces[-1])
        return pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))

    def readall(self) -> bytes:
        return self.read()

    def will_need(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Announce parts, (start, end), that will be read next, at the same time.

        Those that were announced before the last announcement are forgotten.
        """
        parts = _merged(sorted(ranges))
        block = max(1 << 20, min(_BLOCK, AHEAD // max(1, len(parts))))
        self._announced = [*self._announced[-1:], [_Part(s, e, block) for s, e in parts]]
        for part in self._announced[-1]:
            self._fetch(part, part.start)

    def close(self) -> None:
        self._announced = []
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        super().close()

    def _fetch(self, part: _Part, start: int) -> None:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_REQUESTS, "nocturne-store")
        part.at = start
        part.held = self._threads.submit(self._get, start, min(part.end, start + part.block))

    def _some(self, start: int, end: int) -> memoryview:
        """Some of the bytes from ``start`` on, at least one."""
        for parts in reversed(self._announced):
            for part in parts:
                if part.start <= start < part.end:
                    if not part.at <= start < min(part.end, part.at + part.block):
                        self._fetch(part, start)
                    assert part.held is not None
                    return part.held.result()[start - part.at : end - part.at]
        return self._get(start, min(end, start + _BLOCK))

    def _get(self, start: int, end: int) -> memoryview:
        from nocturne.objects.store import asking, library, store

        bucket = store(self.path)
        with asking(self.path):
            options = {"range": (start, end), "if_match": self._tag}
            data = memoryview(library().get(bucket, self.path.key, options=options).bytes())
        if len(data) != end - start:
            raise StoreUnavailable(
                f"{self.path}: asked for {end - start} bytes, the store gave {len(data)}"
            )
        return data


def _merged(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Adjacent ranges as one, as long as it is no more than a block."""
    merged: list[tuple[int, int]] = []
    for start, end in ranges:
        if merged and start <= merged[-1][1] + (64 << 10) and end - merged[-1][0] <= _BLOCK:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def native(path: Location) -> Any:
    """What pyarrow opens to read it. Raises: as ``ObjectPath.read_bytes``."""
    return path if isinstance(path, Path) else pa.PythonFile(path.open(), "r")
