"""One partition of a table."""

from __future__ import annotations

from dataclasses import dataclass

from nocturne.records.texts import Key

__all__ = ["Partition"]


@dataclass(frozen=True)
class Partition:
    """One night. ``keys`` are those of the path; ``key`` is its key for people and for Airflow."""

    key: Key
    keys: tuple[tuple[str, str], ...] = ()

    @property
    def path(self) -> str:
        """The path below the table: ``ds=2013-04-01/hour=05``, or "" for an unpartitioned table."""
        return "/".join(f"{name}={value}" for name, value in self.keys)

    @property
    def state_path(self) -> str:
        """The path below the pipeline's state: ``path``, or "all" for an unpartitioned table."""
        return self.path or "all"
