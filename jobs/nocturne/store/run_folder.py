"""The paths and files of a run directory."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from nocturne.errors import StateError
from nocturne.objects import Location, ObjectPath
from nocturne.records.challengers import Dropped
from nocturne.records.manifest import Decision, Judgement, Logged
from nocturne.records.plan import Split
from nocturne.records.profile import Profile
from nocturne.store.files import children, forget, place, remove, scratch
from nocturne.store.record_files import find, read, write

__all__ = ["RunFolder"]

_COPY = re.compile(r"(run|judgement)-[0-9a-f]{16}\.json")


_UNKNOWN = "1970-01-01T00:00:00+00:00"
_HOST = re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())[:60]


def _is_alive(name: str) -> bool:
    """Whether a ``begun_file`` is of another process of this machine, which is still there."""
    _, host, pid, *_ = (*name.split("@"), "", "")
    if host != _HOST or not pid.isdigit() or int(pid) == os.getpid():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class RunFolder:
    """Every path of a run directory, which may have no plan yet.

    Args:
        path: the directory.
    """

    def __init__(self, path: Location) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.uri!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunFolder) and other.path == self.path

    def __hash__(self) -> int:
        return hash(self.path)

    @property
    def uri(self) -> str:
        """The run directory as text, which tasks and processes pass to each other."""
        return str(self.path)

    @property
    def name(self) -> str:
        """The directory's own name: the first letters of the run key."""
        return self.path.name

    @property
    def plan_file(self) -> Location:
        return self.path / "run.json"

    @property
    def settings_file(self) -> Location:
        """The pipeline's settings as they were when the run was planned."""
        return self.path / "settings.json"

    # Attempts and results

    @property
    def attempts(self) -> Location:
        """The folder to which attempts write."""
        return self.path / "attempts"

    def attempt(self, name: str) -> Location:
        """A file of an attempt."""
        return self.attempts / name

    @property
    def arranged(self) -> Location:
        """The folder of files under their published names, before they are published."""
        return self.path / "table"

    @property
    def working(self) -> list[Location]:
        """Existing folders that are not needed once the scores are published."""
        names = ("progress", "begun", "quarantined")
        kinds = (self.attempts, *(self.path / name for name in names))
        return [folder for folder in kinds if folder.is_dir()]

    def tidy(self) -> None:
        """Remove the files that a published run no longer needs."""
        for folder in self.working:
            remove(folder)

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """A folder on this machine for the files of an attempt.

        When the block ends without an error, what is in it is among the attempts of the run.
        """
        attempts = self.attempts
        if isinstance(attempts, Path):
            attempts.mkdir(parents=True, exist_ok=True)
            yield attempts
            return
        with scratch("attempt") as folder:
            yield folder
            for path in sorted(folder.iterdir()):
                place(path, attempts / path.name)

    def keys_file(self, scores: Location) -> Location:
        """The hashes of an attempt's keys, if keys have to be unique."""
        return self.attempt(f"keys-{PurePosixPath(scores.name).stem}.npy")

    def result_file(self, split: Split, of_query: str = "") -> Location:
        """The result of a split; the first finished attempt writes it.

        Args:
            of_query: what tells the results of one execution of a query from those of others.
        """
        name = f"{split.index:05d}-{split.key[:16]}{of_query and f'-{of_query}'}.json"
        return self.path / "results" / name

    def result_files(self) -> list[Location]:
        """All results, including those of splits that are no longer planned."""
        files = children(self.path / "results")
        return [path for path in files if path.suffix == ".json" and path.name[0] != "."]

    def results_by_key(self) -> dict[str, Location]:
        """The results by the first letters of their splits' keys, whatever the splits' numbers."""
        return {path.stem.split("-")[1]: path for path in self.result_files()}

    def progress_file(self, split: Split) -> Location:
        """The number of rows done so far, as text, while an attempt runs."""
        return self.path / "progress" / f"{split.index:05d}"

    def progress_files(self) -> list[Location]:
        """Those that exist, of attempts that are running or were killed."""
        return children(self.path / "progress")

    @property
    def report_s(self) -> float:
        """Seconds between two reports of a split's progress: each is a request in a store."""
        return 10.0 if isinstance(self.path, ObjectPath) else 1.0

    @property
    def scored_file(self) -> Location:
        """The ``Scored`` of a run with a query, once all its results exist."""
        return self.path / "scored.json"

    def copies(self) -> list[Location]:
        """Copies of files of a run in a store: see ``PartitionState.reference``."""
        return [path for path in children(self.path) if _COPY.fullmatch(path.name)]

    # Challengers

    @property
    def challengers_file(self) -> Location:
        """The challengers that are scored beside this run."""
        return self.path / "challengers.json"

    @property
    def comparison_file(self) -> Location:
        """Of a challenger, the comparison of its scores with the champion's."""
        return self.path / "comparison.json"

    @property
    def arms_file(self) -> Location:
        """How the keys of the night were shared between models."""
        return self.path / "arms.json"

    @property
    def dropped_file(self) -> Location:
        """Why this run, of a challenger or with arms, was dropped."""
        return self.path / "dropped.json"

    def dropped(self) -> Dropped | None:
        """Why this challenger, or this run with its arms, was dropped; None if it was not.

        A record that is damaged says that it was.
        """
        try:
            found = find(Dropped, self.dropped_file)
        except StateError as error:
            return Dropped(str(error), _UNKNOWN, died=True)
        return found if found is not None and found.why else None

    def quarantined_file(self, split: Split) -> Location:
        """Of a challenger that is scored alone: the champion's quarantined rows of a split."""
        return self.path / "quarantined" / f"{split.index:05d}.parquet"

    def begun_file(self, split: Split) -> Location:
        """It is there while a process scores a split of this challenger, or of these arms."""
        return (
            self.path / "begun" / f"{split.index:05d}@{_HOST}@{os.getpid()}@{os.urandom(4).hex()}"
        )

    def begun_files(self) -> list[Location]:
        """Those that exist, but for those of a process that lives on this machine."""
        files = children(self.path / "begun")
        return [path for path in files if not _is_alive(path.name)]

    # Judgement and decisions

    @property
    def report(self) -> Location:
        return self.path / "report.html"

    @property
    def data_docs(self) -> Location:
        return self.path / "data_docs"

    @property
    def docs_page(self) -> Location:
        return self.data_docs / "index.html"

    @property
    def judgement_file(self) -> Location:
        return self.path / "judgement.json"

    @property
    def profile_file(self) -> Location:
        return self.path / "profile.json"

    @cached_property
    def profile(self) -> Profile:
        """The statistics of the columns over the whole night.

        Raises:
            StateError: the run was not judged yet, or the file is damaged.
        """
        return read(Profile, self.profile_file)

    def judgement(self) -> Judgement:
        """Raises: StateError if the run was not judged yet, or the file is damaged."""
        return read(Judgement, self.judgement_file)

    def mlflow_run_id(self) -> str | None:
        """The MLflow run of the judged night, which may have been logged later; None if missing."""
        logged = find(Logged, self.logged_file)
        return logged.mlflow_run_id if logged else self.judgement().mlflow_run_id

    def write_logged(self, mlflow_run_id: str) -> None:
        """Store the MLflow run that was made after the scores were published."""
        write(self.logged_file, Logged(mlflow_run_id))

    @property
    def logged_file(self) -> Location:
        return self.path / "logged.json"

    @property
    def is_judged(self) -> bool:
        return self.judgement_file.is_file()

    @property
    def approval_file(self) -> Location:
        return self.path / "approval.json"

    @property
    def rejection_file(self) -> Location:
        return self.path / "rejection.json"

    def approval(self) -> Decision | None:
        """Who approved the held run, and when."""
        return find(Decision, self.approval_file)

    def rejection(self) -> Decision | None:
        """Who rejected the held run, when and why."""
        return find(Decision, self.rejection_file)

    def undecide(self) -> None:
        """Remove the decision of a person, which was about an earlier judgement."""
        forget(self.approval_file)
        forget(self.rejection_file)

    # Errors

    @property
    def error_file(self) -> Location:
        """The reason why scoring failed, since spark-submit passes on an exit code at most."""
        return self.path / "error.json"

    def write_error(self, error: Mapping[str, Any]) -> None:
        write(self.error_file, dict(error))

    def forget_error(self) -> None:
        forget(self.error_file)
