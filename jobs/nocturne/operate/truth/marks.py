"""What of a night's truth was told to people, and which version of it MLflow has."""

from __future__ import annotations

from nocturne.objects import Location
from nocturne.records.truth import Truth
from nocturne.store.files import children
from nocturne.store.partition_state import PartitionState
from nocturne.store.record_files import content

__all__ = ["is_logged", "logged_file", "told_file"]


def told_file(state: PartitionState, number: int) -> Location:
    """The file that says that somebody was told what a version of a night's truth has shown."""
    return state.place("truth") / f"{number:06d}.told"


def logged_file(state: PartitionState) -> Location:
    """The file with the number of the truth that MLflow has: a rollback has another one."""
    return state.place("truth") / "logged"


def is_logged(state: PartitionState, truth: Truth) -> bool:
    """Whether MLflow has this version of a night's truth, and no other."""
    logged = logged_file(state)
    try:
        return content(logged) == b"%d" % truth.number
    except FileNotFoundError:  # an earlier Nocturne had a file for each number
        names = [path.name for path in children(logged.parent) if path.suffix == ".logged"]
        return max(names, default="") == f"{truth.number:06d}.logged"
