"""Where things lie on disk, for a pipeline and for one partition of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nocturne.config import Loaded
from nocturne.errors import ConfigError, StateError
from nocturne.records import STATE_FORMAT, Format, Partition
from nocturne.store.files import check_exchange
from nocturne.store.record_files import read, write

__all__ = ["Layout", "suite_path"]


@dataclass(frozen=True)
class Layout:
    """Input, output and state of a pipeline. State lies beside the table, never inside it:

    scores/_nocturne/flight_delay/
        format.json, models/<digest>/
        ds=2013-04-01/
            lock, current.json, fingerprints.json
            manifests/, quarantine/, versions/
            runs/<run key>/     run.json, attempts/, results/, judgement.json, report.html
    """

    source: Path
    table: Path
    state: Path

    @classmethod
    def of(cls, loaded: Loaded) -> Layout:
        """Raises: ConfigError if input and output overlap."""
        source = loaded.path(loaded.pipeline.input.path)
        table = loaded.path(loaded.pipeline.output.path)
        state = table.parent / "_nocturne" / table.name
        for one, other in ((source, table), (table, source), (source, state), (state, source)):
            if one == other or one in other.parents:
                raise ConfigError(
                    f"input.path ({source}) and output.path ({table}, with its state in {state}) "
                    "lie inside one another; choose folders that don't"
                )
        return cls(source, table, state)

    def input(self, partition: Partition) -> Path:
        return self.source / partition.path if partition.keys else self.source

    def output(self, partition: Partition) -> Path:
        return self.table / partition.path if partition.keys else self.table

    def partition_state(self, partition: Partition) -> Path:
        return self.state / partition.state_path

    def run(self, partition: Partition, run_key: str) -> Path:
        return self.partition_state(partition) / "runs" / run_key[:16]

    def prepare(self) -> None:
        """Makes the state folder, or checks that it is of this format.

        Raises:
            StateError: another version of Nocturne wrote it, or its mark is damaged.
            ConfigError: it can't be written.
            PublishError: its file system can't exchange folders.
        """
        marker = self.state / "format.json"
        try:
            self.state.mkdir(parents=True, exist_ok=True)
            if not marker.exists():
                check_exchange(self.state)
                write(marker, Format(STATE_FORMAT), exclusive=True)
        except OSError as error:
            raise ConfigError(
                f"{self.state} can't be written: {error.strerror}. It must be on the same file "
                "system as output.path and writable for the user that runs Nocturne"
            ) from None
        found = read(Format, marker).format
        if found != STATE_FORMAT:
            raise StateError(
                f"{marker} says format {found}, this version reads {STATE_FORMAT}; use the "
                "version of Nocturne that wrote it, or another output.path"
            )


def suite_path(loaded: Loaded, name: str) -> Path:
    """A suite's file in conf/expectations/.

    Raises:
        ConfigError: it lies outside of that folder or does not exist.
    """
    folder = (loaded.home / "conf" / "expectations").resolve()
    path = (folder / name).resolve()
    if folder not in path.parents:
        raise ConfigError(f"suite {name!r} lies outside of {folder}; give a file name in it")
    if not path.is_file():
        there = ", ".join(sorted(p.name for p in folder.glob("*"))) or "(no file)"
        raise ConfigError(f"no suite {name!r} in {folder}: it has {there}")
    return path
