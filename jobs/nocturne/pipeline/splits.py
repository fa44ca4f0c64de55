"""Which splits are to be scored, held against what is published."""

from __future__ import annotations

from dataclasses import dataclass, replace

from nocturne import plan, table
from nocturne.config import Loaded
from nocturne.encoding import Encoding
from nocturne.errors import StateError
from nocturne.model.registry import Resolved
from nocturne.records.manifest import Manifest
from nocturne.records.partition import Partition
from nocturne.records.plan import Pinned, Split
from nocturne.source.protocol import Seen
from nocturne.store.files import digest
from nocturne.store.run import Run
from nocturne.table_formats.protocol import TablePartition

__all__ = ["KeyedPieces", "Standing", "splits_to_score"]


@dataclass(frozen=True)
class KeyedPieces:
    """What the keys of the splits are made from."""

    loaded: Loaded
    resolved: Resolved
    encoding: Encoding
    pinned: Pinned
    seen: Seen

    def splits(self, salt: str = "") -> tuple[Split, ...]:
        """The splits; ``salt`` gives other keys to the same contents."""
        wanted = self.loaded.pipeline
        return plan.split_keys(
            self.seen.pieces,
            self.resolved.ref,
            self.encoding,
            self.pinned,
            wanted.output.keys,
            wanted.output.passthrough,
            salt,
            wanted.input.cast,
            self.seen.borrowed,
        )


@dataclass(frozen=True)
class Standing:
    """What is published now, held against what would be made of the same input today.

    ``same``: it was made from the same; ``lost``: so it was, and files of it are gone.
    """

    current: Manifest | None
    content_key: str
    same: bool
    lost: bool

    @classmethod
    def of(cls, output: TablePartition, current: Manifest | None, key: str) -> Standing:
        same = current is not None and current.content_key == key
        lost = same and current is not None and not table.is_intact(output, current)
        return cls(current, key, same, lost)


def splits_to_score(
    loaded: Loaded,
    partition: Partition,
    output: TablePartition,
    requeue: bool,
    force: bool,
    keyed: KeyedPieces,
    standing: Standing,
) -> tuple[Split, ...] | None:
    """The splits that are to be scored; None if nothing is to be scored again.

    A published file's name is never given to other bytes: not even where they would be made of
    the same, as after a rollback. So what was published once gets other keys.

    Raises:
        StateError: quarantined rows are to be scored again, of a night that is no longer the same.
    """
    current = standing.current
    if requeue:
        if current is None or not standing.same or standing.lost:
            raise _not_as_it_was(loaded.pipeline.name, partition, current)
        if not current.quarantine:
            return None
        return _requeued(Run.at(output.state, current.run_key), current)
    if current is None:
        return keyed.splits()
    again = force or standing.lost
    again = again or (not standing.same and _was_published(output, current, standing.content_key))
    return keyed.splits(f"again after {current.id}" if again else "")


def _was_published(output: TablePartition, current: Manifest, run_key: str) -> bool:
    """Also where an earlier manifest can't be read: it may have been."""
    line, broken = output.state.known_lineage(current)
    return broken is not None or run_key in {m.run_key for m in line}


def _requeued(run: Run, current: Manifest) -> tuple[Split, ...]:
    """The splits of the published run; those with quarantined rows have other keys."""
    bad = {file.split for file in current.quarantine}
    return tuple(
        replace(split, key=digest(split.key, f"requeued after {current.id}"))
        if split.key in bad
        else split
        for split in run.plan.splits
    )


def _not_as_it_was(name: str, partition: Partition, current: Manifest | None) -> StateError:
    if current is None:
        return StateError(f"{name} {partition.key} is not published: nothing to requeue")
    return StateError(
        f"{name} {partition.key}: the input, the model or the settings are not those of manifest "
        f"{current.id} any more, or its files were lost. `nocturne score {name} --date "
        f"{partition.key}` scores all that changed, its quarantined rows too"
    )
