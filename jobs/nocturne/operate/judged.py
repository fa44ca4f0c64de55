"""The judged nights of a pipeline: published, held and rejected ones, and those that failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from nocturne.config import Loaded
from nocturne.errors import NocturneError
from nocturne.objects import Location
from nocturne.objects.together import together
from nocturne.operate.sensitive import judgement_without_values
from nocturne.operate.status import PartitionStatus, ending_with, last_scored, statuses_of
from nocturne.records.manifest import Judgement
from nocturne.records.partition import Partition
from nocturne.records.profile import Profile
from nocturne.store.partition_state import PartitionState
from nocturne.store.record_files import read
from nocturne.store.run_folder import RunFolder

__all__ = ["JudgedNight", "judged", "judged_nights", "night_profile", "partitions_until"]


@dataclass(frozen=True)
class JudgedNight:
    """The last run of a partition, with its judgement."""

    status: PartitionStatus
    judgement: Judgement

    @property
    def key(self) -> str:
        return self.status.key

    @property
    def run(self) -> RunFolder:
        assert self.status.run is not None
        return self.status.run

    @property
    def version(self) -> int | None:
        """The version of the model that scored the run."""
        if self.status.unfinished is not None:
            return self.status.unfinished.model_version
        return self.status.model_version


def partitions_until(
    loaded: Loaded, until: str | None = None, count: int = 60
) -> Sequence[Partition]:
    """The last ``count`` partitions up to a key; by default up to ``last_scored``."""
    names = loaded.pipeline.input.partition
    if not names:
        return [Partition("all")]
    last = until or last_scored(loaded)
    if last is None:
        return []
    return ending_with(names, last, count)


def judged_nights(loaded: Loaded, partitions: Sequence[Partition]) -> list[JudgedNight]:
    """Those of the partitions that are judged and can be read, in their order."""
    statuses = statuses_of(loaded, partitions)
    pairs = zip(statuses, together(judged, statuses), strict=True)
    return [JudgedNight(status, found) for status, found in pairs if found is not None]


def judged(status: PartitionStatus) -> Judgement | None:
    """The judgement of the last run of a partition, without values of sensitive columns.

    None if there is none, or it can't be read.
    """
    found = _stored(status)
    return None if found is None else judgement_without_values(found, status.sensitive)


def _stored(status: PartitionStatus) -> Judgement | None:
    try:
        if status.unfinished is None and status.manifest is not None:
            assert status.manifest_file is not None
            state = PartitionState.of_manifest(status.manifest_file, status.manifest)
            stored = status.manifest.judgement
            return _published(state.stored(stored), stored.sha256)
        if status.run is None or not (status.unfinished and status.unfinished.run_key):
            return None
        return status.run.judgement() if status.run.is_judged else None
    except (NocturneError, OSError):
        return None


@lru_cache(maxsize=2_000)
def _published(file: Location, sha256: str) -> Judgement:
    """Read once in each process: a published judgement never changes."""
    return read(Judgement, file)


def night_profile(night: JudgedNight) -> Profile | None:
    """The statistics of a night's columns; None if they are gone."""
    try:
        if night.status.unfinished is None:
            return _profile(night.run)
        return night.run.profile
    except (NocturneError, OSError):
        return None


@lru_cache(maxsize=500)
def _profile(run: RunFolder) -> Profile:
    """Read once in each process: a published profile never changes."""
    return run.profile
