"""How partitions stand, for a page that shows hundreds at once: one small record each.

``status`` reads whole manifests through their models; this takes a few values out of each, once:
a manifest never changes. What it costs grows with the partitions asked for, not with those there
are.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

from nocturne import publish
from nocturne.config import Loaded, from_path, key_format, partition
from nocturne.errors import NocturneError
from nocturne.pipeline.layout import Layout
from nocturne.pipeline.status import partitions
from nocturne.records import Manifest, Partition, VerdictName
from nocturne.store import state
from nocturne.store.record_files import read

__all__ = ["Square", "newest", "squares"]

Stands = Literal["published", "warned", "held", "rejected", "failed", "running", "missing"]


@dataclass(frozen=True)
class Square:
    """A partition. ``of``: rows of the run, ``done``: how many it has scored.

    ``run_dir``: of the run that is not published.
    """

    key: str
    stands: Stands
    message: str = ""
    model_version: int | None = None
    rows: int | None = None
    quarantined: int | None = None
    drifted: int | None = None
    paged: bool = False
    done: int = 0
    of: int = 0
    run_dir: str = ""


def newest(loaded: Loaded, *, published: bool = False) -> str | None:
    """The last partition that has come, was scored, or (``published``) has scores; or None."""
    layout, names = Layout.of(loaded), loaded.pipeline.input.partition
    if not _in_order(names):
        there = (
            p for p in partitions(loaded, layout) if not published or layout.output(p).is_dir()
        )
        return max((p.key for p in there), default=None)
    roots = (layout.table,) if published else (layout.source, layout.state, layout.table)
    lasts = (
        next((p.key for path in _folders(root, tuple(names)) if (p := from_path(names, path))), "")
        for root in roots
    )
    return max(lasts) or None


def _in_order(names: Mapping[str, str]) -> bool:
    """Whether folders of later partitions come later in the alphabet."""
    moments = [
        dt.datetime(2023, 12, 31, 9),
        dt.datetime(2024, 1, 1, 10),
        dt.datetime(2024, 2, 10),
        dt.datetime(2024, 11, 9, 23),
    ]
    paths = [partition(names, m.strftime(key_format(names))).path for m in moments]
    return bool(names) and paths == sorted(paths)


def _folders(root: Path, names: Sequence[str]) -> Iterator[str]:
    """The partitions' folders of a table, ``ds=2013-04-01/hour=05``, from the last one on."""
    try:
        with os.scandir(root) as entries:
            there = sorted(
                (e.name for e in entries if e.name.startswith(f"{names[0]}=")), reverse=True
            )
    except OSError:
        return
    for name in there:
        if len(names) == 1:
            yield name
        else:
            yield from (f"{name}/{rest}" for rest in _folders(root / name, names[1:]))


def squares(loaded: Loaded, wanted: Iterable[Partition]) -> Iterator[Square]:
    """How each of the partitions stands; one that has not come is missing."""
    layout = Layout.of(loaded)
    for one in wanted:
        yield _square(layout, one)


def _square(layout: Layout, night: Partition) -> Square:
    state_dir = layout.partition_state(night)
    try:
        path = publish.current_path(state_dir, layout.output(night))
        facts = _facts(path) if path else None
        unfinished = state.recall(state_dir, facts.run_key if facts else None)
    except (NocturneError, OSError) as error:
        return Square(night.key, "failed", str(error))
    if unfinished is None:
        return facts.square(night.key) if facts else Square(night.key, "missing")
    return Square(
        night.key,
        unfinished.state,
        unfinished.message,
        unfinished.model_version,
        done=unfinished.rows_done,
        of=unfinished.rows,
        run_dir=unfinished.run_dir,
    )


@dataclass(frozen=True)
class _Model:
    version: int


@dataclass(frozen=True)
class _Column:
    alarmed: bool


@dataclass(frozen=True)
class _Facts:
    """What the page takes out of a manifest."""

    __pydantic_config__: ClassVar = {"extra": "ignore"}
    mend: ClassVar[str] = Manifest.mend

    id: str
    run_key: str
    verdict: VerdictName
    reasons: tuple[str, ...]
    model: _Model
    rows_published: int
    rows_quarantined: int
    drift: tuple[_Column, ...]
    drift_paged: bool = False

    def square(self, key: str) -> Square:
        return Square(
            key,
            "published" if self.verdict == "ok" else "warned",
            "; ".join(self.reasons)[:500],
            self.model.version,
            rows=self.rows_published,
            quarantined=self.rows_quarantined,
            drifted=sum(column.alarmed for column in self.drift),
            paged=self.drift_paged,
        )


@lru_cache(maxsize=100_000)
def _facts(manifest: Path) -> _Facts:
    found = read(_Facts, manifest)
    if found.id != manifest.stem:
        publish.read_manifest(manifest)  # says what is wrong with it
    return found
