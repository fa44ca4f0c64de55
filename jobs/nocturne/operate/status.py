"""How partitions stand: one reading of the state, for `status`, the page and the alerts.

What a partition costs is the listing of its folder, its status file, and its manifest, which is
read once a process, since it never changes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from nocturne.config import Loaded, from_path, key_format, partition
from nocturne.errors import NocturneError, disk_errors
from nocturne.pipeline.places import Places
from nocturne.records.findings import Verdict
from nocturne.records.manifest import Manifest
from nocturne.records.partition import Partition
from nocturne.records.status import RunStatus
from nocturne.store.files import partition_folders
from nocturne.store.partition_state import PartitionState
from nocturne.store.run_folder import RunFolder
from nocturne.table_formats.protocol import TablePartition

__all__ = ["PartitionStatus", "known_partitions", "newest", "status_of", "statuses", "statuses_of"]

State = Literal["published", "held", "rejected", "failed", "running", "missing"]

_REMARK = 500


@dataclass(frozen=True)
class PartitionStatus:
    """How a partition stands.

    Attributes:
        key: the partition's.
        state: of the last run if that is not published; else whether something is.
        manifest: what is published, if it can be read.
        unfinished: the last run, if it is not published.
        problem: why it can't be told.
        manifest_file, location: of what is published.
        run: of the run that is not published, or else of the one that is.
    """

    key: str
    state: State
    input: Path
    manifest: Manifest | None = None
    unfinished: RunStatus | None = None
    problem: str = ""
    manifest_file: Path | None = None
    location: Path | None = None
    run: RunFolder | None = None

    @property
    def message(self) -> str:
        """Why it is not published, or can't be read; "" if it is."""
        return self.problem or (self.unfinished.message if self.unfinished else "")

    @property
    def warned(self) -> bool:
        """Whether it is published with more than an ``ok``."""
        verdict = self.manifest.verdict if self.manifest else Verdict.OK
        return self.state == "published" and verdict != Verdict.OK

    @property
    def shown(self) -> str:
        """The state, with ``warned`` apart."""
        return "warned" if self.warned else self.state

    @property
    def remark(self) -> str:
        """What there is to say of it, in a line."""
        published = self.manifest is not None and self.state == "published"
        found = self.manifest.reasons if self.manifest and published else ()
        return self.message or "; ".join(found)[:_REMARK]

    @property
    def model_version(self) -> int | None:
        """Of the scores in force; without any, of the last run."""
        if self.manifest is not None:
            return self.manifest.model.version
        return self.unfinished.model_version if self.unfinished else None

    @property
    def rows_per_second(self) -> int | None:
        seconds = self.manifest.seconds.get("score", 0) if self.manifest else 0
        return round(self.manifest.rows_in / seconds) if self.manifest and seconds else None

    @property
    def report(self) -> Path | None:
        """The report of the run that is not published, or else of the one that is."""
        if self.run is None:
            return None
        found = self.run.report
        return found if self.unfinished is None or found.exists() else None


def statuses(
    loaded: Loaded, first: str | None = None, last: str | None = None
) -> list[PartitionStatus]:
    """Every partition that has come or was scored, oldest first.

    Args:
        first, last: partition keys that bound the list, both included.
    """
    places = Places.of(loaded)
    found = {p.key: p for p in known_partitions(loaded)}
    return [
        status_of(places, found[key])
        for key in sorted(found)
        if (first is None or key >= first) and (last is None or key <= last)
    ]


def known_partitions(loaded: Loaded) -> Iterator[Partition]:
    """Those of the input, of the state and of the table; some come more than once."""
    names, places = loaded.pipeline.input.partition, Places.of(loaded)
    if not names:
        yield Partition("all")
        return
    listed = (
        partition_folders(places.source, list(names)),
        places.state.folders(list(names)),
        places.table.partitions(list(names)),
    )
    for paths in listed:
        yield from (found for path in paths if (found := from_path(names, path)))


def status_of(places: Places, partition: Partition) -> PartitionStatus:
    """How one partition stands; one that has not come is missing."""
    output = places.output(partition)
    manifest: Manifest | None = None
    unfinished: RunStatus | None = None
    problem = ""
    try:
        with disk_errors():
            manifest = _in_force(output)
            unfinished = output.state.status(manifest.run_key if manifest else None)
    except (NocturneError, OSError) as error:
        problem = str(error)
    state: State = "published" if manifest else "missing"
    if problem:
        state = "failed"
    elif unfinished:
        state = unfinished.state
    run_key = unfinished.run_key if unfinished else manifest.run_key if manifest else ""
    return PartitionStatus(
        partition.key,
        state,
        places.input(partition),
        manifest,
        unfinished,
        problem,
        manifest_file=output.state.manifest_file(manifest.id) if manifest else None,
        location=output.location if manifest else None,
        run=output.state.run(run_key) if run_key else None,
    )


def _in_force(output: TablePartition) -> Manifest | None:
    id_ = output.in_force()
    if id_ is None:
        return None
    try:
        written = output.state.manifest_file(id_).stat()
    except OSError:
        return output.state.manifest(id_)  # says what is wrong with it
    return _manifest(output.state, id_, (written.st_mtime_ns, written.st_size))


@lru_cache(maxsize=100_000)
def _manifest(state: PartitionState, id_: str, written: tuple[int, int]) -> Manifest:
    """Read once a process: a manifest never changes, but by somebody else's hand."""
    return state.manifest(id_)


def newest(loaded: Loaded, *, published: bool = False) -> str | None:
    """The last partition that has come, was scored, or (``published``) has scores; or None."""
    places, names = Places.of(loaded), loaded.pipeline.input.partition
    if not _in_order(names):
        there = (
            p.key
            for p in known_partitions(loaded)
            if not published or places.output(p).location.is_dir()
        )
        return max(there, default=None)
    tables = [places.table.partitions(list(names))]
    if not published:
        tables += [partition_folders(places.source, list(names)), places.state.folders(list(names))]
    lasts = (
        next((p.key for path in paths if (p := from_path(names, path))), "") for paths in tables
    )
    return max(lasts) or None


@lru_cache
def _ordered(names: tuple[tuple[str, str], ...]) -> bool:
    moments = [
        dt.datetime(2023, 12, 31, 9),
        dt.datetime(2024, 1, 1, 10),
        dt.datetime(2024, 2, 10),
        dt.datetime(2024, 11, 9, 23),
    ]
    formats = dict(names)
    paths = [partition(formats, m.strftime(key_format(formats))).path for m in moments]
    return bool(formats) and paths == sorted(paths)


def _in_order(names: Mapping[str, str]) -> bool:
    """Whether folders of later partitions come later in the alphabet."""
    return _ordered(tuple(names.items()))


def statuses_of(loaded: Loaded, wanted: Iterable[Partition]) -> Iterator[PartitionStatus]:
    """How each of the partitions stands."""
    places = Places.of(loaded)
    for one in wanted:
        yield status_of(places, one)
