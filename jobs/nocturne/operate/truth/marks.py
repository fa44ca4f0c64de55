"""What of a night's truth was told to people, and which version of it MLflow has."""

from __future__ import annotations

from nocturne.objects import Location
from nocturne.records.truth import Truth
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
    try:
        return content(logged_file(state)) == b"%d" % truth.number
    except FileNotFoundError:
        return False
