"""The paths and files of a run directory."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from nocturne.objects import Location
from nocturne.records.manifest import Decision, Judgement, Logged
from nocturne.records.plan import Split
from nocturne.records.profile import Profile
from nocturne.store.record_files import find, read, write

__all__ = ["RunFolder"]


class RunFolder:
    """Every path of a run directory, which may have no plan yet.

    Args:
        path: the directory.
    """

    def __init__(self, path: Path) -> None:
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
    def plan_file(self) -> Path:
        return self.path / "run.json"

    @property
    def settings_file(self) -> Path:
        """The pipeline's settings as they were when the run was planned."""
        return self.path / "settings.json"

    # Attempts and results

    @property
    def attempts(self) -> Path:
        """The folder to which attempts write."""
        return self.path / "attempts"

    def attempt(self, name: str) -> Path:
        """A file of an attempt."""
        return self.attempts / name

    @property
    def arranged(self) -> Path:
        """The folder of files under their published names, before they are published."""
        return self.path / "table"

    @property
    def working(self) -> list[Path]:
        """Existing folders that are not needed once the scores are published."""
        return [folder for folder in (self.attempts, self.path / "progress") if folder.exists()]

    def tidy(self) -> None:
        """Remove the files that a published run no longer needs."""
        for folder in self.working:
            shutil.rmtree(folder, ignore_errors=True)

    def keys_file(self, scores: Location) -> Path:
        """The hashes of an attempt's keys, if keys have to be unique."""
        return self.attempt(f"keys-{PurePosixPath(scores.name).stem}.npy")

    def result_file(self, split: Split) -> Path:
        """The result of a split; the first finished attempt writes it."""
        return self.path / "results" / f"{split.index:05d}-{split.key[:16]}.json"

    def result_files(self) -> list[Path]:
        """All results, including those of splits that are no longer planned."""
        return sorted((self.path / "results").glob("*.json"))

    def result_of(self, key: str) -> Path | None:
        """The result for a split key, whatever the split's number is; None if there is none."""
        return next(iter((self.path / "results").glob(f"*-{key[:16]}.json")), None)

    def progress_file(self, split: Split) -> Path:
        """The number of rows done so far, as text, while an attempt runs."""
        return self.path / "progress" / f"{split.index:05d}"

    @property
    def scored_file(self) -> Path:
        """The ``Scored`` of a run with a query, once all its results exist."""
        return self.path / "scored.json"

    # Judgement and decisions

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def data_docs(self) -> Path:
        return self.path / "data_docs"

    @property
    def judgement_file(self) -> Path:
        return self.path / "judgement.json"

    @property
    def profile_file(self) -> Path:
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
        logged = find(Logged, self._logged_file)
        return logged.mlflow_run_id if logged else self.judgement().mlflow_run_id

    def write_logged(self, mlflow_run_id: str) -> None:
        """Store the MLflow run that was made after the scores were published."""
        write(self._logged_file, Logged(mlflow_run_id))

    @property
    def _logged_file(self) -> Path:
        return self.path / "logged.json"

    @property
    def is_judged(self) -> bool:
        return self.judgement_file.exists()

    @property
    def approval_file(self) -> Path:
        return self.path / "approval.json"

    @property
    def rejection_file(self) -> Path:
        return self.path / "rejection.json"

    def approval(self) -> Decision | None:
        """Who approved the held run, and when."""
        return find(Decision, self.approval_file)

    def rejection(self) -> Decision | None:
        """Who rejected the held run, when and why."""
        return find(Decision, self.rejection_file)

    def undecide(self) -> None:
        """Remove the decision of a person, which was about an earlier judgement."""
        self.approval_file.unlink(missing_ok=True)
        self.rejection_file.unlink(missing_ok=True)

    # Errors

    @property
    def error_file(self) -> Path:
        """The reason why scoring failed, since spark-submit passes on an exit code at most."""
        return self.path / "error.json"

    def write_error(self, error: Mapping[str, Any]) -> None:
        write(self.error_file, dict(error))

    def forget_error(self) -> None:
        self.error_file.unlink(missing_ok=True)
