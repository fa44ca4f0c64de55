"""Publishes into the tables of lake formats, whose log or catalog decides which files count.

A publish is one commit of the table. It removes the files of the partition, adds ours, and stores
the number of the manifest under ``nocturne/<partition>``. The libraries do not retry it, since they
would do so over other writers' commits; ``swap`` does. A commit whose answer was lost is recognised
by its number.

Files are linked, or uploaded, to their places before the commit, where readers do not see them.
Replaced files stay in their places for rollback, until they are neither kept nor promised to
readers by the table itself. Its own maintenance (VACUUM, expired snapshots) may remove them sooner.

A format is a subclass of ``LakeTable``, and a ``Snapshot`` of its versions.
"""

from __future__ import annotations

import logging
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from nocturne.errors import (
    ForeignRows,
    NocturneError,
    PublishError,
    RetryableError,
    StateError,
    StoreUnavailable,
    Superseded,
    Unsettled,
)
from nocturne.objects import Location, joined, size_of
from nocturne.objects.listing import is_listed, unlisted
from nocturne.objects.reading import native
from nocturne.records.manifest import Manifest, OutputFile
from nocturne.records.partition import Partition
from nocturne.store.partition_state import PartitionState
from nocturne.store.pipeline_state import PipelineState
from nocturne.store.run_folder import RunFolder
from nocturne.table_formats.lake.columns import dotted_problems, name_problems
from nocturne.table_formats.lake.files import files_of
from nocturne.table_formats.lake.snapshot import (
    Added,
    Conflict,
    DataFile,
    Mark,
    Misfit,
    Snapshot,
    app_of,
    folder_of,
    twice,
)
from nocturne.table_formats.protocol import PUBLISHED, TablePartition, gone
from nocturne.table_formats.statistics import Statistics, statistics

__all__ = ["LakePartition", "LakeTable"]

log = logging.getLogger(__name__)

_TRIES = 50
"""Commits of other partitions between which ours is tried again."""
_FRESH_S = 1.0
_CHANCE = random.SystemRandom()
_NEVER = "of a publish that never came into force"


class LakeTable(ABC):
    """A table in a folder.

    Args:
        folder: the table's folder.
        state: the place of the state of the pipeline that publishes into it; None if it is read.
    """

    format: str
    """The format's name in messages."""
    has_dots: bool = True
    """Whether the names of columns may have dots."""

    def __init__(self, folder: Location, state: Location | None = None) -> None:
        self.folder, self._state = folder, state
        self.files, self.evolves = files_of(folder), False
        self._seen: Snapshot | None = None
        self._until = 0.0

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"the {self.format} table {self.folder}"

    @property
    def data(self) -> Location:
        """The folder of the partitions' folders."""
        return self.folder

    @abstractmethod
    def ready(self) -> None:
        """Return if the format's library can be used.

        Raises:
            ConfigError: it is not installed, or lacks a setting.
            PublishError: no table can be at such a path.
        """

    @property
    def fresh_s(self) -> float:
        """Seconds for which the table is taken to be as it was, where nothing is written."""
        return _FRESH_S

    def snapshot(self) -> Snapshot | None:
        """The table as it is now, or was a moment ago (``fresh_s``); None if there is none.

        Raises:
            ConfigError: the library is not installed, or lacks a setting.
            PublishError: the table can't be read.
            RetryableError: its catalog, or its store, does not answer.
        """
        if time.monotonic() >= self._until:
            asked = time.monotonic()
            self._seen = self._loaded()
            self._until = asked + self.fresh_s
        return self._seen

    @abstractmethod
    def _loaded(self) -> Snapshot | None:
        """The table as it is now. Raises: as ``snapshot``."""

    @abstractmethod
    def create(self, schema: pa.Schema, partition: Partition) -> None:
        """Make a table for scores, without files, unless there is one.

        Raises:
            Conflict: it may have failed, or not.
            OSError: the disk is full or read-only.
        """

    def partition_columns(self, partition: Partition) -> pa.Schema:
        """Partition columns that must be in the files too, with their types; by default none.

        Raises:
            PublishError: the table can't be read.
        """
        return pa.schema([])

    @abstractmethod
    def has_type(self, type_: pa.DataType) -> bool:
        """Whether the format's readers find such values of a Parquet file right."""

    @abstractmethod
    def foreign(self) -> str | None:
        """What is at the table's place, if there is no table; None if it is free."""

    def refresh(self) -> None:
        """Forget what is known of the table, so that it is read anew."""
        self._until = 0.0

    @abstractmethod
    def sync(self, before: Snapshot) -> None:
        """Make the commits after a version survive a power failure, if the library does not."""

    def check(self) -> None:
        """Test what a commit needs.

        Raises:
            ConfigError: the library is not installed, or lacks a setting.
            PublishError, OSError, StoreUnavailable: as ``Files.check``.
        """
        self.ready()
        self.files.check()

    def partition(self, state: PartitionState) -> LakePartition:
        """The partition that belongs to a state."""
        return LakePartition(self, state)

    def partitions(self, names: Sequence[str]) -> Iterator[str]:
        """Paths of partitions that were published from here and have files, the last first.

        A table that can't be read has none: each partition of the state says so.
        """
        snapshot = None
        with suppress(PublishError, RetryableError):
            snapshot = self.snapshot()
        if snapshot is None:
            return
        state = PipelineState(self._state).folders(names) if self._state is not None else ()
        known = {*state}
        for path in sorted(snapshot.paths(names), reverse=True):
            if path in known or snapshot.number(app_of(path)) is not None:
                yield path

    def half_made(self, partitions: Iterable[TablePartition]) -> Iterator[Location]:
        """What a killed publish, or a killed test, left."""
        return self.files.half_made(partition.location for partition in partitions)


class LakePartition:
    """A partition of such a table."""

    staging = "attempts"
    lake_types = True

    def __init__(self, table: LakeTable, state: PartitionState) -> None:
        self.state = state
        self._table, self._partition = table, state.partition
        self._app = app_of(state.partition.state_path)
        self.location = table.data / folder_of(state.partition)

    def partition_columns(self) -> pa.Schema:
        """Those that readers of the format need in the files. Raises: PublishError."""
        return self._table.partition_columns(self._partition)

    def check(self, schema: pa.Schema | None, from_files: Collection[str] = ()) -> None:
        """Return if the scores can be published into the table.

        Raises:
            PublishError: the folder holds no table, or the table has features that we lack,
                other partition columns, or columns that differ from those of the scores.
        """
        self._table.ready()
        snapshot, table = self._table.snapshot(), self._table
        if snapshot is None and (found := table.foreign()) is not None:
            raise PublishError(
                f"{table.folder} holds something, and it is no {table.format} table ({found}). "
                "Nothing was changed. Choose another output.path, or move it away",
                path=str(table.folder),
            )
        if isinstance(self.location, Path) and self.location.is_file():
            raise PublishError(
                f"{self.location} is a file; expected the folder of a partition, or nothing. "
                "Nothing was changed. Move it away, or choose another output.path",
                path=str(self.location),
            )
        doubled = sorted(set(from_files) & {name for name, _ in self._partition.keys})
        if doubled:
            raise PublishError(
                f"scores can't be published into {table.title}: column {', '.join(doubled)} of the "
                "input's files is published, and the table has such a column from the partition, "
                "whose values may be others. Nothing was changed. Drop it from output.keys and "
                "output.passthrough",
                path=str(table.folder),
            )
        self._check(snapshot, schema)

    def _check(
        self, snapshot: Snapshot | None, schema: pa.Schema | None, *, whole: bool = True
    ) -> None:
        problems: list[str] = []
        if schema is not None:
            keys = [name for name in dict(self._partition.keys) if name not in schema.names]
            problems += name_problems([*schema.names, *keys])
            if not self._table.has_dots:
                problems += dotted_problems(
                    [*schema, *(pa.field(key, pa.string()) for key in keys)]
                )
            problems += [
                f"column {field.name!r} is {field.type}, which {self._table.format} does not have"
                for field in schema
                if not self._table.has_type(field.type)
            ]
        if snapshot is not None:
            asked = schema if schema is None else self._asked(snapshot, schema)
            with self._fitting():
                problems += snapshot.problems(self._partition, None if problems else asked, whole)
        if problems:
            raise PublishError(
                f"scores can't be published into {self._table.title}: {'; '.join(problems)}. "
                "Nothing was changed. Change the table (output.evolve: add adds columns to it) or "
                "the scores, or choose another output.path",
                path=str(self._table.folder),
            )

    def _asked(self, snapshot: Snapshot, schema: pa.Schema) -> pa.Schema:
        """The columns that the table must have: without those that will be added to it."""
        if not self._table.evolves:
            return schema
        known = {name.lower() for name in snapshot.types()}
        return pa.schema([field for field in schema if field.name.lower() in known])

    def _evolve(self, scores: Location | None) -> None:
        """Add the columns of the scores that the table lacks, in which earlier rows have null."""
        snapshot = self._table.snapshot()
        if not self._table.evolves or snapshot is None or scores is None:
            return
        try:
            schema = pq.read_schema(native(scores))
        except FileNotFoundError:
            raise gone(scores) from None
        known = {*snapshot.types(), *dict(self._partition.keys)}
        if missing := [f.with_nullable(True) for f in schema if f.name not in known]:
            try:
                snapshot.add_columns(missing)
            except Conflict as conflict:
                raise RetryableError(
                    f"{self._table.title} did not take the columns "
                    f"{', '.join(f.name for f in missing)}: {conflict}. Nothing was published. Run "
                    "the same command again"
                ) from None
            finally:
                self._table.refresh()

    @contextmanager
    def _fitting(self) -> Iterator[None]:
        try:
            yield
        except Misfit as misfit:
            raise PublishError(
                f"{misfit}. Nothing was changed. Choose another output.path or output.table",
                path=str(self._table.folder),
            ) from None

    def _files(self, snapshot: Snapshot) -> list[DataFile]:
        with self._fitting():
            return snapshot.files(self._partition)

    def in_force(self) -> str | None:
        """The id of the manifest whose number the table has; None if nothing was ever published.

        Raises:
            PublishError: other writers have changed rows of the partition, or none is ours.
            StateError: the manifest is damaged.
        """
        try:
            return self._in_force()
        except (PublishError, StateError):
            if not is_listed():
                raise
        with unlisted():  # it may have been published since its manifests were listed
            return self._in_force()

    def _in_force(self) -> str | None:
        snapshot = self._table.snapshot()
        if snapshot is None:
            return None
        files, number = self._readable(snapshot), snapshot.number(self._app)
        if number is None:
            return self._by_names(files)
        ids = self._numbered(number)
        if not ids and not files:
            return None  # its state was lost, and then its rows were deleted
        for id_ in reversed(ids):
            if _is_of(files, self.state.manifest(id_)):
                return id_
        if not ids:
            raise self._error(
                f"was published {number} times, and {self.state.title} has no such manifest",
                "Put the folder of its state back, or delete its rows (DELETE FROM ... WHERE ...)",
            )
        since = snapshot.changes(self._partition, self._app, number)
        changes, is_known = since.changes, since.is_known
        id_ = since.manifest_id or ids[-1]
        if since.manifest_id not in (None, *ids):
            raise self._error(
                f"was published as {since.manifest_id}, and {self.state.title} has no such "
                "manifest: another state publishes into it too",
                "Use that one as output.state, or another output.path",
            )
        if not changes:  # its rows were arranged in other files; who needs them compares them
            is_one = len(ids) == 1 and self.kept(self.state.manifest(id_)) is not None
            if is_known or is_one:
                return id_
            raise self._changed(
                f"has other files than manifest {id_} ({_names(files)}), and its history no "
                "longer says why"
            )
        raise self._changed(
            f"was changed by others since manifest {id_}: "
            f"{'; '.join(str(change) for change in reversed(changes[:3]))}"
        )

    def _readable(self, snapshot: Snapshot) -> list[DataFile]:
        """The partition's files. Raises: PublishError if readers see other rows than theirs."""
        with self._fitting():
            problems = list(snapshot.reading_problems(self._partition))
        files = self._files(snapshot)
        problems += twice(files)
        if problems:
            raise self._error(
                f"can't be read: {'; '.join(problems)}", "Take that out of the table again"
            )
        return files

    def _by_names(self, files: Sequence[DataFile]) -> str | None:
        """In force if nothing has a number: the table may forget old transactions."""
        if not files:
            return None
        for id_ in reversed(self.state.manifest_ids()):
            if _is_of(files, self.state.manifest(id_)):
                return id_
        raise self._error(
            f"holds files that were not published from here ({_names(files)}; state: "
            f"{self.state.title})",
            "Delete its rows (DELETE FROM ... WHERE ...), or choose another output.path",
        )

    def _numbered(self, number: int | None) -> list[str]:
        """The ids of the manifests with a number.

        There are several if publishes at once were not kept apart by a lock: all but one of them
        never came into force.
        """
        return [id_ for id_ in self.state.manifest_ids() if int(id_.split("-")[0]) == number]

    def _error(self, what: str, do: str, kind: type[PublishError] = PublishError) -> PublishError:
        where = f"partition {self._partition.key} of {self._table.title}"
        return kind(f"{where} {what}. Nothing was changed. {do}", path=str(self.location))

    def _changed(self, what: str) -> PublishError:
        do = "`nocturne adopt` takes the rows that are there as they are"
        return self._error(what, do, ForeignRows)

    def last_published(self) -> str | None:
        """The id of the manifest whose number the table has.

        Raises:
            PublishError: what the files say is not what its readers see.
        """
        if (snapshot := self._table.snapshot()) is None:
            return None
        self._readable(snapshot)
        number = snapshot.number(self._app)
        ids = self._numbered(number)
        if number is None or len(ids) < 2:
            return ids[0] if ids else None
        # Of several, only the history of the table says which one was in force.
        return snapshot.changes(self._partition, self._app, number).manifest_id

    def files(self) -> dict[str, int]:
        """The partition's files in the table: name -> size in bytes on the disk, or -1."""
        snapshot = self._table.snapshot()
        names = [file.name for file in self._files(snapshot)] if snapshot else []
        found = self._table.files.existing([self.file(name) for name in names])
        sizes = (size_of(path) if path else -1 for path in found)
        return dict(zip(names, sizes, strict=True))

    def next_number(self) -> int:
        """The number of the next manifest: above all that the state or the table has."""
        return max(self.state.next_number(), (self.number() or 0) + 1)

    def number(self) -> int | None:
        """The number that the table has of the partition."""
        snapshot = self._table.snapshot()
        return snapshot.number(self._app) if snapshot else None

    def file(self, name: str) -> Location:
        """The path of a published file."""
        return joined(self.location, name)

    def is_rearranged(self, manifest: Manifest) -> bool:
        """Whether the table has other files, as after OPTIMIZE."""
        snapshot = self._table.snapshot()
        return snapshot is not None and not _is_of(self._files(snapshot), manifest)

    @contextmanager
    def exclusive(self, *, cleaning: bool = False) -> Iterator[None]:
        """Holds the partition's lock, for what a publish writes into the state.

        Raises:
            Superseded: another process holds it.
            RetryableError: another one is cleaning.
        """
        with self.state.lock(cleaning=cleaning):
            self._table.refresh()  # whoever held the lock has changed it
            yield

    def stage(self, files: Mapping[str, Location], run_key: str) -> None:
        """Bring the files to their places in the table, where no reader sees them yet.

        The first publish makes the table.

        Raises:
            StateError: a file does not exist.
            PublishError: the table can't be made.
        """
        if self._table.snapshot() is None:
            self._create(next(iter(files.values())))
        else:
            self._evolve(next(iter(files.values()), None))
        put = {self.file(name): source for name, source in files.items()}
        self._table.files.put(put, self.location)

    def _create(self, scores: Location) -> None:
        try:
            schema = pq.read_schema(native(scores))
        except FileNotFoundError:
            raise gone(scores) from None
        self._check(None, schema)
        try:
            self._table.create(schema, self._partition)
        except (Conflict, StoreUnavailable) as error:
            self._table.refresh()
            if self._table.snapshot() is not None:
                return
            if isinstance(error, StoreUnavailable):
                raise
            raise PublishError(
                f"{self._table.title} can't be made: {error}. Nothing was changed"
            ) from None

    def swap(self, manifest: Manifest) -> None:
        """Commit the files of the manifest.

        Raises:
            Superseded: another commit has changed the partition.
            PublishError, OSError: that is impossible, and nothing was changed.
            Unsettled: it is unknown whether they are in force.
        """
        problem: Exception | None = None
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_CHANCE.uniform(0, 0.02 * min(attempt, 10)))
            snapshot = self._now(problem)
            if self._has(snapshot, manifest):
                break  # the answer was lost, or another process publishes the same run
            self.state.check_lock()
            try:
                self._commit(snapshot, manifest)
                break
            except Conflict as conflict:
                problem = conflict
            except StoreUnavailable as error:  # the commit may land even now
                if self._has(self._now(error), manifest):
                    break
                raise self._unsettled(error, "it does not have them yet") from error
            except OSError as error:
                if self._has(self._now(error), manifest):
                    break
                if not isinstance(error, FileNotFoundError):
                    raise
                raise RetryableError(
                    f"a file that was to be committed is gone ({error}): another program has "
                    f"removed files that are in no current version of {self._table.title}, as "
                    "VACUUM does with too short a retention. Nothing was changed. Run the same "
                    "command again"
                ) from None
        else:
            if not self._has(self._now(problem), manifest):
                raise RetryableError(
                    f"{self._table.title} took none of {_TRIES} commits ({problem}). Nothing was "
                    "changed. Run the partition again"
                )
        try:
            self._table.sync(snapshot)
        except (NocturneError, OSError) as error:  # it is in force, whatever comes now
            log.warning("a power failure could lose manifest %s: %s", manifest.id, error)

    def _now(self, problem: Exception | None) -> Snapshot:
        """The table as it is at this moment.

        Args:
            problem: of a commit, which may have succeeded nevertheless; None before the first.

        Raises:
            Superseded: it is gone.
            Unsettled: it can't be seen after a commit.
        """
        self._table.refresh()
        try:
            snapshot = self._table.snapshot()
        except (NocturneError, OSError) as error:
            if problem is None:
                raise
            raise self._unsettled(problem, f"then could not be read: {error}") from error
        if snapshot is None:
            raise Superseded(
                f"{self._table.title} was removed by another program while it was published into; "
                "this one changed nothing. Run the partition again"
            )
        return snapshot

    def _unsettled(self, problem: Exception, then: str) -> Unsettled:
        return Unsettled(
            f"{self._table.title} did not answer a commit ({problem}), and {then}. Whether the "
            "scores are published shows when it can be read: run the partition again, which then "
            "finds them or publishes them"
        )

    def _has(self, snapshot: Snapshot, manifest: Manifest) -> bool:
        """Whether the manifest was committed: its number is above all that were in force.

        Raises:
            Unsettled: the table has the number, and other files.
        """
        if snapshot.number(self._app) != manifest.number:
            return False
        files = self._files(snapshot)
        if not _is_of(files, manifest):
            others = [id_ for id_ in self._numbered(manifest.number) if id_ != manifest.id]
            if any(_is_of(files, self.state.manifest(id_)) for id_ in others):
                raise self._superseded()
            raise Unsettled(
                f"partition {self._partition.key} of {self._table.title} was published as number "
                f"{manifest.number}, and has other files than ours: another state publishes into "
                "it too, or another program wrote them at once. Look at `nocturne status`"
            )
        return True

    def _commit(self, snapshot: Snapshot, manifest: Manifest) -> None:
        mark = Mark(self._app, manifest.number, manifest.id)
        before, number = self._files(snapshot), snapshot.number(self._app)
        replaced = self.state.manifest(manifest.replaces) if manifest.replaces else None
        # Files that are those of the replaced manifest may be in force again, by a rollback.
        if number is not None and number not in _allowed(manifest, replaced):
            raise self._superseded()
        if _is_of(before, manifest):
            snapshot.mark(mark)  # the files of others, which were adopted
            return
        adopts = bool(manifest.adopted) and not manifest.restores
        if adopts or not self._is_still(snapshot, before, replaced):
            raise self._superseded()
        schema = None
        if manifest.outputs:
            # What is never null is known, and checked, before anything is scored.
            found = pq.read_schema(native(self.file(manifest.outputs[0].path)))
            schema = pa.schema([field.with_nullable(False) for field in found])
        self._check(snapshot, schema, whole=not manifest.restores)
        snapshot.replace(self._partition, [self._added(f) for f in manifest.outputs], mark)

    def _superseded(self) -> Superseded:
        return Superseded(
            f"partition {self._partition.key} of {self._table.title} is being changed by another "
            "program; this one changed nothing. Look at `nocturne status`"
        )

    def _is_still(
        self, snapshot: Snapshot, before: Sequence[DataFile], replaced: Manifest | None
    ) -> bool:
        """Whether the partition has the rows of the manifest that is replaced, and no others."""
        if replaced is None:
            return not before
        if _is_of(before, replaced):
            return True
        since = snapshot.changes(self._partition, self._app, replaced.number)
        return since.is_known and not since.changes

    def _added(self, file: OutputFile) -> Added:
        path = self.file(file.path)
        found = statistics(path, without=dict(self._partition.keys))
        if not PUBLISHED.fullmatch(path.name):  # its columns may have had other names then
            found = Statistics(found.rows, {}, {}, {})
        return Added(path, file.size, path.stat().st_mtime_ns // 1_000_000, found)

    def settle(self, manifest: Manifest, keep: int) -> None:
        """Nothing is left to do after a commit."""

    def kept(self, manifest: Manifest) -> dict[str, Location] | None:
        """The files of a replaced manifest, by name; None if they are no longer there."""
        paths = {file.path: self.file(file.path) for file in manifest.outputs}
        return paths if None not in self._table.files.existing([*paths.values()]) else None

    def unneeded(
        self, manifest: Manifest, keep: int, runs: Iterable[RunFolder]
    ) -> Iterator[tuple[Location, str]]:
        """Files that readers are no longer promised, of versions beyond ``keep`` and of no version.

        Files with other names than ours are left to VACUUM.
        """
        snapshot = self._table.snapshot()
        lineage, error = self.state.known_lineage(manifest)
        if error is not None or snapshot is None:
            return
        needed = [manifest]
        kept = list(dict.fromkeys(m.content for m in lineage if m.content != manifest.content))
        needed += [m for m in lineage if m.content in kept[:keep]]
        ids = {m.id for m in lineage}
        needed += [m for m in self.state.history() if m.id not in ids]  # gc asks about them first
        spared = {file.path for m in needed for file in m.outputs}
        spared |= {file.name for file in self._files(snapshot)}
        spared |= snapshot.promised(self._partition, lineage)
        replaced = {file.path for m in lineage for file in m.outputs}
        for path in self._table.files.inside(self.location):
            if PUBLISHED.fullmatch(path.name) and path.name not in spared:
                was = path.name in replaced
                why = f"of a version past output.keep ({keep})" if was else _NEVER
                yield path, why


def _allowed(manifest: Manifest, replaced: Manifest | None) -> Collection[int]:
    """The numbers over which a manifest may be published. Without files any earlier one is."""
    return (replaced.number,) if replaced is not None else range(manifest.number)


def _is_of(files: Iterable[DataFile], manifest: Manifest) -> bool:
    return sorted((f.name, f.size) for f in files) == sorted(
        (f.path, f.size) for f in manifest.outputs
    )


def _names(files: Sequence[DataFile]) -> str:
    names = ", ".join(sorted(file.name for file in files)[:3]) or "none"
    return names + (", ..." if len(files) > 3 else "")
