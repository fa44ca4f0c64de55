"""The status of partitions: one reading of the state, for `status`, the page and the alerts.

For each partition this lists its folder, reads its status file, and reads its manifest once in each
process, since a manifest never changes.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import takewhile
from typing import Literal
from zoneinfo import ZoneInfo

from nocturne import table
from nocturne.config import Loaded, from_path, key_format, parse, partition, period
from nocturne.config import later as later_key
from nocturne.errors import ForeignRows, NocturneError, WrittenByNewer, disk_errors
from nocturne.objects import Location
from nocturne.objects.path import Stat
from nocturne.operate.sensitive import text_without_values
from nocturne.pipeline.places import Places
from nocturne.records.findings import Verdict
from nocturne.records.manifest import Manifest
from nocturne.records.partition import Partition
from nocturne.records.status import RunStatus
from nocturne.store.partition_state import PartitionState
from nocturne.store.run import Run
from nocturne.store.run_folder import RunFolder
from nocturne.table_formats.protocol import TablePartition

__all__ = [
    "PartitionStatus",
    "Recent",
    "ending_with",
    "known_partitions",
    "last_scored",
    "local_now",
    "newest",
    "recent",
    "status_of",
    "statuses",
    "statuses_of",
    "waiting",
]

log = logging.getLogger(__name__)

State = Literal["published", "held", "rejected", "failed", "running", "missing"]
Cause = Literal["", "foreign", "newer", "lost", "damaged"]

_REMARK = 500


@dataclass(frozen=True)
class PartitionStatus:
    """The status of a partition.

    Attributes:
        key: the key of the partition.
        state: the state of the last run if it is not published; otherwise published or missing.
        manifest: the manifest in force, if it can be read.
        unfinished: the status of the last run, if it is not published.
        problem: why the status can't be read, or that the published rows are gone.
        cause: what the problem comes from: rows of other programs that can be adopted
            (``foreign``), a record of a newer Nocturne, rows that are gone (``lost``), or anything
            else that can't be read (``damaged``).
        manifest_file, location: the paths of the manifest in force and of the published scores.
        run: the last run if it is not published; the published run if there is no such run.
        sensitive: the columns whose values must not be shown (``quality.sensitive``).
    """

    key: str
    state: State
    input: Location
    manifest: Manifest | None = None
    unfinished: RunStatus | None = None
    problem: str = ""
    cause: Cause = ""
    manifest_file: Location | None = None
    location: Location | None = None
    run: RunFolder | None = None
    sensitive: frozenset[str] = frozenset()

    @property
    def message(self) -> str:
        """Why it is not published or can't be read; "" if it is published."""
        message = self.problem or (self.unfinished.message if self.unfinished else "")
        return text_without_values(message, self.sensitive)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reasons of the verdict on the scores in force."""
        reasons = self.manifest.reasons if self.manifest else ()
        return tuple(text_without_values(reason, self.sensitive) for reason in reasons)

    @cached_property
    def unpublishable(self) -> NocturneError | None:
        """Why the scores of the last run can't be published any more, whatever the verdict.

        Its plan can't be read, or (``Superseded``) others are in force now than when it was made.
        """
        if self.run is None or self.unfinished is None or not self.unfinished.run_key:
            return None
        try:
            table.check_base(Run.open(self.run.path), self.manifest)
        except NocturneError as error:
            return error
        return None

    @property
    def warned(self) -> bool:
        """Whether it is published with a verdict other than ``ok``."""
        verdict = self.manifest.verdict if self.manifest else Verdict.OK
        return self.state == "published" and verdict != Verdict.OK

    @property
    def shown(self) -> str:
        """The state, or ``warned`` if it is published with a warning."""
        return "warned" if self.warned else self.state

    @property
    def remark(self) -> str:
        """The message, or whose rows they are and the reasons of the verdict, in one line."""
        night = self.manifest if self.state == "published" else None
        if night is None or self.message:
            return self.message
        others = (
            [f"rows of another program, adopted by {night.approved_by}"]
            if night.adopted == "rows"
            else []
        )
        return "; ".join([*others, *self.reasons])[:_REMARK]

    @property
    def model_version(self) -> int | None:
        """The model version of the scores in force; without scores, of the last run."""
        if self.manifest is not None:
            return self.manifest.model.version
        return self.unfinished.model_version if self.unfinished else None

    @property
    def rows_per_second(self) -> int | None:
        seconds = self.manifest.seconds.get("score", 0) if self.manifest else 0
        return round(self.manifest.rows_in / seconds) if self.manifest and seconds else None

    @property
    def report(self) -> Location | None:
        """The report of ``run``; None if an unpublished run has none yet."""
        if self.run is None:
            return None
        path = self.run.report
        return path if self.unfinished is None or path.is_file() else None


def statuses(
    loaded: Loaded, first: str | None = None, last: str | None = None
) -> list[PartitionStatus]:
    """The status of every partition that exists in the input or was scored, oldest first.

    Args:
        first, last: the first and the last partition key of the list, both included.
    """
    places = Places.of(loaded)
    with places.state.listed():
        by_key = {p.key: p for p in known_partitions(loaded)}
        return [
            status_of(loaded, by_key[key], places)
            for key in sorted(by_key)
            if (first is None or key >= first) and (last is None or key <= last)
        ]


def known_partitions(loaded: Loaded) -> Iterator[Partition]:
    """The partitions of the input, of the state and of the table; some are repeated."""
    names, places = loaded.pipeline.input.partition, Places.of(loaded)
    if not names:
        yield Partition("all")
        return
    listed = (
        _of_input(places, names),
        places.state.folders(list(names)),
        places.table.partitions(list(names)),
    )
    for paths in listed:
        yield from (partition for path in paths if (partition := from_path(names, path)))


def _of_input(places: Places, key_formats: Mapping[str, str]) -> Iterator[str]:
    """Paths of the input's partitions; none if it can't be read, which hides no published night."""
    try:
        yield from places.inputs.partitions(key_formats)
    except NocturneError as error:
        log.warning("the input's partitions can't be listed: %s", error)


def status_of(
    loaded: Loaded, partition: Partition, places: Places | None = None
) -> PartitionStatus:
    """The status of one partition; it is missing if it is neither scored nor running.

    Args:
        places: the pipeline's, if they are known already.
    """
    places = places or Places.of(loaded)
    output = places.output(partition)
    manifest: Manifest | None = None
    unfinished: RunStatus | None = None
    problem = ""
    cause: Cause = ""
    try:
        with disk_errors():
            manifest = _in_force(output)
            unfinished = output.state.status(manifest.run_key if manifest else None)
            if manifest is None and unfinished is None and (problem := _lost(output)):
                cause = "lost"
    except (NocturneError, OSError) as error:
        problem, cause = str(error), _cause(error)
    state: State = "published" if manifest else "missing"
    if problem:
        state = "failed"
    elif unfinished:
        state = unfinished.state
    # Without a run key, planning failed before there was a run.
    run_key = (unfinished.run_key if unfinished else "") or (manifest.run_key if manifest else "")
    return PartitionStatus(
        partition.key,
        state,
        places.input(partition),
        manifest,
        unfinished,
        problem,
        cause,
        manifest_file=output.state.manifest_file(manifest.id) if manifest else None,
        location=output.location if manifest else None,
        run=output.state.run(run_key) if run_key else None,
        sensitive=frozenset(loaded.pipeline.quality.sensitive),
    )


def _cause(error: Exception) -> Cause:
    if isinstance(error, ForeignRows):
        return "foreign"
    return "newer" if isinstance(error, WrittenByNewer) else "damaged"


def _lost(output: TablePartition) -> str:
    """That rows were published and are gone; "" if none were, as far as it is known."""
    ids = output.state.manifest_ids()
    if not ids or output.in_force() is not None:  # published since it was asked first
        return ""
    there = "has none" if output.location.exists() else "is not there"
    return (
        f"its rows are gone: {output.location} {there}, though it was published ({ids[-1]} is its "
        "last manifest). Put a copy of them back, or score it again"
    )


def _in_force(output: TablePartition) -> Manifest | None:
    manifest_id = output.in_force()
    if manifest_id is None:
        return None
    try:
        written = output.state.manifest_file(manifest_id).stat()
    except OSError:
        return output.state.manifest(manifest_id)  # raises an error that explains it
    version = written if isinstance(written, Stat) else (written.st_mtime_ns, written.st_size)
    return _manifest(output.state, manifest_id, version)


@lru_cache(maxsize=100_000)
def _manifest(state: PartitionState, id_: str, written: tuple[int, int] | Stat) -> Manifest:
    """Read once in each process: a manifest never changes, unless somebody edits it."""
    return state.manifest(id_)


def newest(
    loaded: Loaded, of: Literal["all", "scored", "published"] = "all", until: str | None = None
) -> str | None:
    """The last partition key, or None.

    Args:
        of: ``all``: of the input, the state and the table; ``scored``: of the latter two, so of
            those that were scored or failed; ``published``: of the table.
        until: no later key.
    """
    places, names = Places.of(loaded), loaded.pipeline.input.partition
    tables = [places.table.partitions(list(names))]
    if of != "published":
        tables.append(places.state.folders(list(names)))
    if of == "all":
        tables.append(_of_input(places, names))
    in_order, last = _folders_in_order(names), ""
    for paths in tables:
        keys = (key for key in _keys(names, paths) if until is None or key <= until)
        last = max(last, next(keys, "") if in_order else max(keys, default=""))
    return last or None


def last_scored(loaded: Loaded) -> str | None:
    """The last key until today that was scored or tried, or None; a later one was mistyped."""
    today = local_now(loaded).strftime(key_format(loaded.pipeline.input.partition))
    return newest(loaded, "scored", until=today)


def _keys(names: Mapping[str, str], paths: Iterable[str]) -> Iterator[str]:
    return (p.key for path in paths if (p := from_path(names, path)))


def waiting(loaded: Loaded, after: str | None) -> list[str]:
    """Keys of the input's partitions after one that are over and not scored, oldest first.

    Those outside of ``schedule.start_date`` to ``end_date`` are left out.
    """
    names, schedule, now = (
        loaded.pipeline.input.partition,
        loaded.pipeline.schedule,
        local_now(loaded),
    )
    found = list[str]()
    for key in _keys(names, _of_input(Places.of(loaded), names)):
        if after is not None and key <= after:
            if _folders_in_order(names):
                break
            continue
        moment = parse(names, key)
        day = moment.date()
        is_over = moment + period(names) <= now
        if is_over and schedule.start_date <= day <= (schedule.end_date or day):
            found.append(key)
    return sorted(found)


def local_now(loaded: Loaded) -> dt.datetime:
    """Where the pipeline's days begin and end."""
    return dt.datetime.now(ZoneInfo(loaded.pipeline.schedule.timezone)).replace(tzinfo=None)


@dataclass(frozen=True)
class Recent:
    """The last partitions of a pipeline, oldest first, and the keys of the input's after them."""

    statuses: list[PartitionStatus]
    later: list[str]

    @property
    def last(self) -> PartitionStatus | None:
        """The last one that was scored, or tried."""
        tried = (status for status in reversed(self.statuses) if status.state != "missing")
        return next(tried, self.statuses[-1] if self.statuses else None)

    @property
    def waiting(self) -> int:
        """How many of the input's partitions come after the last one that was tried."""
        ahead = takewhile(lambda status: status.state == "missing", reversed(self.statuses))
        return len(self.later) + sum(1 for _ in ahead)


_AHEAD = 7
"""Of the partitions that nobody scored yet, so many are shown beside those that were scored."""


def recent(loaded: Loaded, count: int = 35) -> Recent:
    """The last ``count`` partitions that ended before anything was last scored or shortly after.

    An input may reach far beyond what was scored, and what was scored far before today.
    """
    names = loaded.pipeline.input.partition
    if not names:
        return Recent(statuses_of(loaded, [Partition("all")]), [])
    last = last_scored(loaded)
    later = waiting(loaded, last)
    if last is None:
        return Recent([], later)
    ahead = later[:_AHEAD]
    # Without gaps up to the last that was scored; after it only what there is to score.
    shown = [
        *ending_with(names, last, max(count - len(ahead), 1)),
        *(partition(names, key) for key in ahead),
    ]
    return Recent(statuses_of(loaded, shown), later[_AHEAD:])


def ending_with(names: Mapping[str, str], key: str, count: int) -> list[Partition]:
    """The last ``count`` partitions up to a key, without gaps, the oldest first."""
    moment = parse(names, key)
    back = (later_key(names, moment, -n) for n in range(count - 1, -1, -1))
    return [partition(names, day.strftime(key_format(names))) for day in back if day is not None]


@lru_cache
def _sorted_by_time(names: tuple[tuple[str, str], ...]) -> bool:
    moments = [
        dt.datetime(2023, 12, 31, 9),
        dt.datetime(2024, 1, 1, 10),
        dt.datetime(2024, 2, 10),
        dt.datetime(2024, 11, 9, 23),
    ]
    formats = dict(names)
    paths = [partition(formats, m.strftime(key_format(formats))).path for m in moments]
    return bool(formats) and paths == sorted(paths)


def _folders_in_order(names: Mapping[str, str]) -> bool:
    """Whether the folders of later partitions sort after those of earlier ones."""
    return _sorted_by_time(tuple(names.items()))


def statuses_of(loaded: Loaded, partitions: Iterable[Partition]) -> list[PartitionStatus]:
    """The status of each of the partitions."""
    places = Places.of(loaded)
    partitions = [*partitions]
    if not partitions:
        return []
    with places.state.listed(partitions):
        return [status_of(loaded, partition, places) for partition in partitions]
