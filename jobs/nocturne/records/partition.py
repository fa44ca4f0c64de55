"""One partition of a table."""

from __future__ import annotations

from dataclasses import dataclass

from nocturne.records.texts import Key

__all__ = ["Partition"]


@dataclass(frozen=True)
class Partition:
    """One night: ``keys`` as in the path, ``key`` as people and Airflow write it."""

    key: Key
    keys: tuple[tuple[str, str], ...] = ()

    @property
    def path(self) -> str:
        """Below the table: ``ds=2013-04-01/hour=05``, or "" for an unpartitioned table."""
        return "/".join(f"{name}={value}" for name, value in self.keys)

    @property
    def state_path(self) -> str:
        """Below the pipeline's state: as ``path``, with a name for an unpartitioned table."""
        return self.path or "all"
