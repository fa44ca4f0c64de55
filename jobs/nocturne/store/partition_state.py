"""The state of one partition: its manifests, kept versions, quarantine, runs, and its last run."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from nocturne.errors import Held, NocturneError, StateError, Superseded, disk_errors
from nocturne.records.manifest import Judgement, Manifest, StoredFile
from nocturne.records.partition import Partition
from nocturne.records.plan import RunPlan
from nocturne.records.status import RunState, RunStatus
from nocturne.records.texts import MANIFEST_ID
from nocturne.store.files import file_digest, locked
from nocturne.store.format import raise_format
from nocturne.store.record_files import find, read, write
from nocturne.store.run_folder import RunFolder

__all__ = ["SILENCE", "PartitionState", "manifest_id", "now"]

SILENCE = dt.timedelta(minutes=15)
"""A run that says nothing for so long counts as failed."""


def now() -> str:
    """The present as ISO 8601, UTC, in seconds."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def manifest_id(number: int, run_key: str) -> str:
    """Commit number and run key: ``000002-1f0c...``."""
    return f"{number:06d}-{run_key[:16]}"


class PartitionState:
    """Every path and every transition of a partition's state.

    Args:
        root: the folder of the pipeline's state.
    """

    def __init__(self, root: Path, partition: Partition) -> None:
        self.root = root
        self.partition = partition
        self.folder = root / partition.state_path

    def __repr__(self) -> str:
        return f"PartitionState({str(self.folder)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PartitionState) and other.folder == self.folder

    def __hash__(self) -> int:
        return hash(self.folder)

    # What lies where

    @property
    def lock_file(self) -> Path:
        return self.folder / "lock"

    def lock(self) -> AbstractContextManager[None]:
        """Holds the partition for a publish.

        Raises:
            Superseded: another process holds it.
        """
        return locked(self.lock_file)

    def fingerprints(self, table: str = "") -> Path:
        """The cache of the hashes of the input's files, or of a table that its query joins."""
        return self.folder / (f"fingerprints-{table}.json" if table else "fingerprints.json")

    def run(self, run_key: str) -> RunFolder:
        """The run directory of a run key."""
        return RunFolder(self.folder / "runs" / run_key[:16])

    def runs(self) -> list[RunFolder]:
        """Every run directory."""
        return [RunFolder(path) for path in children(self.folder / "runs")]

    def quarantine(self, run_key: str) -> Path:
        """Where the rows lie that a published run has quarantined."""
        return self.folder / "quarantine" / run_key[:16]

    def quarantine_file(self, run_key: str, name: str) -> Path:
        """A file in there."""
        return self.quarantine(run_key) / name

    def quarantines(self) -> list[Path]:
        """Where rows of any run lie that it has quarantined."""
        return children(self.folder / "quarantine")

    def version(self, id_: str) -> Path:
        """Where the files of the manifest ``id_`` are kept once it was replaced."""
        return self.folder / "versions" / id_

    def versions(self) -> list[Path]:
        """The kept files of manifests that were replaced, oldest first."""
        return children(self.folder / "versions")

    def accepted(self, id_: str) -> Path:
        """The note of who accepted the drift of the manifest ``id_``."""
        return self.folder / "accepted" / f"{id_}.json"

    # Manifests

    def manifest_file(self, id_: str) -> Path:
        """Where the manifest ``id_`` lies."""
        return self.folder / "manifests" / f"{id_}.json"

    def manifest_files(self) -> list[Path]:
        """Everything that lies among the manifests."""
        return children(self.folder / "manifests")

    def manifest_ids(self) -> list[str]:
        """Of all that is named as a manifest is, by number; other files are somebody else's."""
        found = (path.stem for path in self.manifest_files() if path.suffix == ".json")
        return sorted(id_ for id_ in found if MANIFEST_ID.fullmatch(id_))

    def next_number(self) -> int:
        """One more than the highest commit number, also of commits that never came into force."""
        return max((int(id_.split("-")[0]) for id_ in self.manifest_ids()), default=0) + 1

    def manifest(self, id_: str) -> Manifest:
        """The manifest of an id.

        Raises:
            StateError: there is none, it is damaged, or it is another one's copy.
        """
        path = self.manifest_file(id_)
        found = read(Manifest, path)
        if found.id != id_ or found.id != manifest_id(found.number, found.run_key):
            raise StateError(
                f"{path} says that it is manifest {found.id}, number {found.number} of the run "
                f"{found.run_key[:16]}: it was copied, renamed or edited. {Manifest.mend}",
                source=str(path),
            )
        return found

    def history(self) -> list[Manifest]:
        """Every manifest that was written for the partition, oldest first."""
        return [self.manifest(id_) for id_ in self.manifest_ids()]

    def lineage(self, latest: Manifest | None) -> list[Manifest]:
        """The manifest in force, the one that it replaced, and so on to the first.

        What ``history`` has beside them never came into force.

        Raises:
            StateError: one of them is damaged.
        """
        line, broken = self.known_lineage(latest)
        if broken is not None:
            raise broken
        return line

    def known_lineage(self, latest: Manifest | None) -> tuple[list[Manifest], StateError | None]:
        """``lineage`` as far back as it can be read, and what is wrong with the next one."""
        line: list[Manifest] = []
        while latest is not None:
            line.append(latest)
            try:
                latest = self._replaced_by(latest)
            except StateError as broken:
                return line, broken
        return line, None

    def _replaced_by(self, manifest: Manifest) -> Manifest | None:
        if manifest.replaces is None or not self.manifest_file(manifest.replaces).exists():
            return None
        before = self.manifest(manifest.replaces)
        if before.number >= manifest.number:  # following such ones would never end
            path = self.manifest_file(manifest.id)
            raise StateError(
                f"{path} says that it replaced {before.id}, whose number is not lower: a cycle in "
                f"the chain of manifests. {Manifest.mend}",
                source=str(path),
            )
        return before

    def stored(self, file: StoredFile) -> Path:
        """Where a file of the state lies that a manifest names."""
        return self.folder / file.path

    def refer(self, path: Path) -> StoredFile:
        """How a manifest names a file of the state."""
        return StoredFile(path.relative_to(self.folder).as_posix(), file_digest(path))

    def judgement(self, manifest: Manifest) -> Judgement:
        """The judgement that a manifest names.

        Raises:
            StateError: it is gone or damaged.
        """
        return read(Judgement, self.stored(manifest.judgement))

    # What the last run does

    @property
    def _status(self) -> Path:
        return self.folder / "current.json"

    def say(self, status: RunStatus) -> None:
        """Remember how the last run stands."""
        raise_format(self.root)
        write(self._status, status, durable=False)

    def status(self, in_force: str | None = None) -> RunStatus | None:
        """How the last run stands; a run that fell silent has failed. None: nothing unfinished.

        Args:
            in_force: the published run's key; if that is the last run, it was killed before it
                could say that it is done.

        Raises:
            StateError: what is remembered is damaged.
        """
        found = find(RunStatus, self._status)
        if found is None or found.run_key == in_force:
            return None
        silent = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(found.at)
        if found.state == "running" and silent > SILENCE:
            said = f"no sign of life since {found.at} (step {found.step}): it was killed or lost"
            return replace(found, state="failed", message=said)
        return found

    def say_refused(self, message: str) -> None:
        """Remember that planning failed, so that `status` does not call the night missing.

        A held night stays held: a person is still to decide on it.
        """
        with suppress(StateError):  # what is damaged is written anew
            held = self.status()
            if held is not None and held.state == "held":
                return
        self.say(RunStatus("failed", "prepare", "", None, 0, 0, message, now()))

    def say_done(self, run_key: str) -> None:
        """Forget the status of a run that is finished: the published manifest says the rest.

        The status of another run stays.
        """
        with suppress(StateError):  # what is damaged goes: it says nothing to anybody
            found = self.status()
            if found is not None and found.run_key not in ("", run_key):
                return
        with suppress(FileNotFoundError):
            os.unlink(self._status)

    @contextmanager
    def step(self, name: str, plan: RunPlan) -> Iterator[None]:
        """Marks the partition as running this step, and as held or failed if it raises."""

        def say(state: RunState, message: str) -> None:
            self.say(RunStatus.of(plan, state, name, message, now()))

        try:
            with disk_errors():
                say("running", "")
                yield
        except Held as held:
            say("held", str(held))
            raise
        except Superseded:
            self.say_done(plan.run_key)  # the winner's night is fine
            raise
        except Exception as error:
            ours = isinstance(error, NocturneError)
            with suppress(OSError):  # where the disk is full, this can't be written either
                say("failed", str(error) if ours else f"{type(error).__name__}: {error}")
            raise


def children(folder: Path) -> list[Path]:
    """The content of a folder, sorted; empty if the folder does not exist."""
    return sorted(folder.iterdir()) if folder.is_dir() else []
