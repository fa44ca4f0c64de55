"""The state of one partition: its manifests, kept versions, quarantine, runs, and its last run."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from nocturne.errors import (
    ConfigError,
    Held,
    NocturneError,
    StateError,
    StoreUnavailable,
    Superseded,
    disk_errors,
)
from nocturne.objects import Location, ObjectPath, local, relative
from nocturne.objects.listing import unlisted
from nocturne.records.manifest import Judgement, Manifest, StoredFile
from nocturne.records.partition import Partition
from nocturne.records.plan import RunPlan
from nocturne.records.status import RunState, RunStatus
from nocturne.records.texts import MANIFEST_ID
from nocturne.store.files import children, forget, locked, write_atomic
from nocturne.store.format import raise_format
from nocturne.store.leases import CLEANING, PUBLISHING, Lease, leased
from nocturne.store.record_files import content, find, read, write
from nocturne.store.run_folder import RunFolder

__all__ = ["SILENCE", "PartitionState", "manifest_id", "now"]

SILENCE = dt.timedelta(minutes=15)
"""A run without a sign of life for this time counts as failed."""


def now() -> str:
    """The current time as ISO 8601, UTC, in seconds."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def manifest_id(number: int, run_key: str) -> str:
    """Commit number and run key: ``000002-1f0c...``."""
    return f"{number:06d}-{run_key[:16]}"


class PartitionState:
    """Every path and every transition of a partition's state.

    On a file system it is a folder, ``ds=2013-04-01/manifests/``. In a store the kind comes first,
    ``manifests/ds=2013-04-01/``, so that the manifests of a year are one listing, without the
    files of its runs.

    Args:
        root: the place of the pipeline's state.
    """

    def __init__(self, root: Location, partition: Partition) -> None:
        self.root = root
        self.partition = partition
        self._lease: Lease | None = None

    @classmethod
    def of_manifest(cls, path: Location, manifest: Manifest) -> PartitionState:
        """The state that a manifest's file is in."""
        depth = len(manifest.partition.state_path.split("/"))
        return cls(path.parents[depth + 1], manifest.partition)

    def __repr__(self) -> str:
        return f"PartitionState({self.title!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PartitionState) and (other.root, other.partition.state_path) == (
            self.root,
            self.partition.state_path,
        )

    def __hash__(self) -> int:
        return hash((self.root, self.partition.state_path))

    # Paths

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"{self.root}/{self.partition.state_path}"

    def place(self, kind: str) -> Location:
        """The folder of the files of a kind: ``manifests``, ``runs``, ..."""
        path = self.partition.state_path
        if isinstance(self.root, ObjectPath):
            return self.root / kind / path
        return self.root / path / kind

    @property
    def folder(self) -> Path:
        """The folder of a state on a file system. Raises: ConfigError if it is in a store."""
        return local(self.root) / self.partition.state_path

    @property
    def _single(self) -> Location:
        """The folder of the files of which there is one."""
        return self.place("status") if isinstance(self.root, ObjectPath) else self.folder

    @property
    def lock_file(self) -> Path:
        return self.folder / "lock"

    @contextmanager
    def lock(self, *, cleaning: bool = False) -> Iterator[None]:
        """Hold the lock of the partition for a publish, or to clean it.

        In a store several may publish at once: there the table alone decides, and what they write
        is the same, or created once. Nobody cleans meanwhile: see ``store.leases``.

        Raises:
            Superseded: another process holds the lock.
            RetryableError: it is being cleaned.
        """
        if isinstance(self.root, Path):
            with locked(self.lock_file):
                yield
            return
        kind = CLEANING if cleaning else PUBLISHING
        with leased(self.root / "leases" / self.partition.state_path, kind, self.title) as lease:
            before, self._lease = self._lease, lease
            try:
                yield
            finally:
                self._lease = before

    def check_lock(self) -> None:
        """Raises: RetryableError if the lock is held for so long that it may not count any more."""
        if self._lease is not None:
            self._lease.check()

    def fingerprints(self, table: str = "") -> Location:
        """The file that caches hashes of the input's files, or of the files of a joined table."""
        return self._single / (f"fingerprints-{table}.json" if table else "fingerprints.json")

    @property
    def confirmed_file(self) -> Location:
        """The record that a run found nothing new to score."""
        return self._single / "confirmed.json"

    def run(self, run_key: str) -> RunFolder:
        """The run directory of a run key."""
        return RunFolder(self.place("runs") / run_key[:16])

    def runs(self) -> list[RunFolder]:
        """Every run directory."""
        return [RunFolder(path) for path in children(self.place("runs"))]

    def quarantine(self, run_key: str) -> Location:
        """The folder of the rows that a published run quarantined."""
        return self.place("quarantine") / run_key[:16]

    def quarantine_file(self, run_key: str, name: str) -> Location:
        """A file of quarantined rows of a run."""
        return self.quarantine(run_key) / name

    def quarantines(self) -> list[Location]:
        """The folders of quarantined rows, of all runs."""
        return children(self.place("quarantine"))

    def version(self, id_: str) -> Path:
        """The folder that keeps the files of the manifest ``id_`` after it was replaced."""
        return self.folder / "versions" / id_

    def versions(self) -> list[Path]:
        """The folders of the kept files of replaced manifests, oldest first."""
        return [local(path) for path in children(self.folder / "versions")]

    def accepted(self, id_: str) -> Location:
        """The record of who accepted the drift of the manifest ``id_``."""
        return self.place("accepted") / f"{id_}.json"

    # Manifests

    def manifest_file(self, id_: str) -> Location:
        """The file of the manifest ``id_``."""
        return self.place("manifests") / f"{id_}.json"

    def manifest_files(self) -> list[Location]:
        """All files in the folder of manifests."""
        return children(self.place("manifests"))

    def manifest_ids(self) -> list[str]:
        """The ids of all manifests, by number. Files with other names are ignored."""
        stems = (path.stem for path in self.manifest_files() if path.suffix == ".json")
        return sorted(id_ for id_ in stems if MANIFEST_ID.fullmatch(id_))

    def next_number(self) -> int:
        """One more than the highest commit number, also of commits that never came into force."""
        return max((int(id_.split("-")[0]) for id_ in self.manifest_ids()), default=0) + 1

    def manifest(self, id_: str) -> Manifest:
        """The manifest with an id.

        Raises:
            StateError: the manifest is missing or damaged, or is a copy of another.
        """
        path = self.manifest_file(id_)
        manifest = find(Manifest, path)
        if manifest is None:
            with unlisted():  # it may have been written since others were listed
                manifest = read(Manifest, path)
        if manifest.id != id_ or manifest.id != manifest_id(manifest.number, manifest.run_key):
            raise StateError(
                f"{path} says that it is manifest {manifest.id}, number {manifest.number} of the "
                f"run {manifest.run_key[:16]}: it was copied, renamed or edited. {Manifest.mend}",
                source=str(path),
            )
        return manifest

    def history(self) -> list[Manifest]:
        """Every manifest that was written for the partition, oldest first."""
        return [self.manifest(id_) for id_ in self.manifest_ids()]

    def lineage(self, latest: Manifest | None) -> list[Manifest]:
        """The manifest in force, the manifest that it replaced, and so on to the first.

        Other manifests of ``history`` were never in force.

        Raises:
            StateError: one of the manifests is damaged.
        """
        manifests, error = self.known_lineage(latest)
        if error is not None:
            raise error
        return manifests

    def known_lineage(self, latest: Manifest | None) -> tuple[list[Manifest], StateError | None]:
        """``lineage`` as far back as it can be read, and the error of the next manifest."""
        lineage: list[Manifest] = []
        while latest is not None:
            lineage.append(latest)
            try:
                latest = self._replaced_by(latest)
            except StateError as error:
                return lineage, error
        return lineage, None

    def _replaced_by(self, manifest: Manifest) -> Manifest | None:
        if manifest.replaces is None or not self.manifest_file(manifest.replaces).is_file():
            return None
        before = self.manifest(manifest.replaces)
        if before.number >= manifest.number:  # a cycle, which would never end
            path = self.manifest_file(manifest.id)
            raise StateError(
                f"{path} says that it replaced {before.id}, whose number is not lower: a cycle in "
                f"the chain of manifests. {Manifest.mend}",
                source=str(path),
            )
        return before

    def stored(self, file: StoredFile) -> Location:
        """The path of a file that a manifest names."""
        kind, _, name = file.path.partition("/")
        return self.place(kind) / name

    def reference(self, path: Location, copied: bytes | None = None) -> StoredFile:
        """The reference to a file of a run, for a manifest.

        In a store, where no lock keeps others from writing it again, it is one to a copy, whose
        name has its hash.

        Args:
            copied: bytes of a copy that is to be made and referred to in any case.
        """
        data = content(path) if copied is None else copied
        hash_ = hashlib.sha256(data).hexdigest()
        if isinstance(path, ObjectPath) or copied is not None:
            path = path.with_name(f"{path.stem}-{hash_[:16]}{path.suffix}")
            write_atomic(path, data, exclusive=True, durable=True)
        return StoredFile(self.name_of(path), hash_)

    def name_of(self, path: Location) -> str:
        """The name of a file of a run in records, ``runs/<run key>/...``, wherever the state is."""
        return f"runs/{relative(path, self.place('runs'))}"

    def judgement(self, manifest: Manifest) -> Judgement:
        """The judgement that a manifest names.

        Raises:
            StateError: the judgement is missing or damaged.
        """
        return read(Judgement, self.stored(manifest.judgement))

    # Status of the last run

    @property
    def _status(self) -> Location:
        return self._single / "current.json"

    def write_status(self, status: RunStatus) -> None:
        """Store the status of the last run."""
        raise_format(self.root)
        write(self._status, status, durable=False)

    def status(self, in_force: str | None = None) -> RunStatus | None:
        """The status of the last run; None if it is finished.

        A run without a sign of life counts as failed.

        Args:
            in_force: the run key of the published run. If that is the last run, it was killed
                before it could remove its status.

        Raises:
            StateError: the stored status is damaged.
        """
        status = find(RunStatus, self._status)
        if status is None or status.run_key == in_force:
            return None
        silence = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(status.at)
        if status.state == "running" and silence > SILENCE:
            message = (
                f"no sign of life since {status.at} (step {status.step}): it was killed or lost"
            )
            return replace(status, state="failed", message=message)
        return status

    def write_planning_failed(self, message: str) -> None:
        """Store that planning failed, so that `status` does not call the night missing.

        A held night stays held, since a person has not decided on it yet, and a rejected one
        rejected, since they have.
        """
        with suppress(StateError):  # a damaged status is replaced
            status = self.status()
            if status is not None and status.state in ("held", "rejected"):
                return
        self.write_status(RunStatus("failed", "prepare", "", None, 0, 0, message, now()))

    def clear_status(self, run_key: str) -> None:
        """Remove the status of a finished run: the published manifest has the rest.

        The status of another run stays.
        """
        with suppress(StateError):  # a damaged status is removed
            status = self.status()
            if status is not None and status.run_key not in ("", run_key):
                return
        forget(self._status)

    @contextmanager
    def step(self, name: str, plan: RunPlan) -> Iterator[None]:
        """Mark the partition as running this step, and as held or failed if the step raises."""

        def say(state: RunState, message: str) -> None:
            self.write_status(RunStatus.of(plan, state, name, message, now()))

        try:
            with disk_errors():
                say("running", "")
                yield
        except Held as held:
            say("held", str(held))
            raise
        except Superseded:
            with suppress(OSError, StoreUnavailable):
                self.clear_status(plan.run_key)  # the night of the other process is fine
            raise
        except Exception as error:
            is_ours = isinstance(error, NocturneError)
            # If the disk is full, or the store is away, this can't be written either.
            with suppress(OSError, StoreUnavailable, ConfigError):
                say("failed", str(error) if is_ours else f"{type(error).__name__}: {error}")
            raise
