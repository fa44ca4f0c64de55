"""The splits to score, compared with what is published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from nocturne import plan, table
from nocturne.config import Loaded
from nocturne.encoding import Encoding
from nocturne.errors import StateError
from nocturne.model.registry import Resolved
from nocturne.records.manifest import Manifest
from nocturne.records.partition import Partition
from nocturne.records.plan import Arms, Pinned, Split
from nocturne.source.protocol import Seen
from nocturne.store.files import digest
from nocturne.store.run import Run
from nocturne.table_formats.protocol import TablePartition

__all__ = ["KeyedPieces", "Standing", "requeued_keys", "salt_of", "splits_to_score"]


@dataclass(frozen=True)
class KeyedPieces:
    """Everything that the keys of the splits are made of.

    ``champion``: of a challenger, the run that it is scored beside. ``arms``: the models that score
    a share of the keys.
    """

    loaded: Loaded
    resolved: Resolved
    encoding: Encoding
    pinned: Pinned
    seen: Seen
    partition_columns: pa.Schema
    champion: Run | None = None
    arms: Arms | None = None

    def splits(self, salt: str = "") -> tuple[Split, ...]:
        """The splits with their keys. A ``salt`` makes other keys of the same contents."""
        pipeline = self.loaded.pipeline
        return plan.split_keys(
            self.seen.pieces,
            self.resolved.ref,
            self.encoding,
            self.pinned,
            pipeline.output.keys,
            pipeline.output.passthrough,
            salt,
            pipeline.input.cast,
            self.seen.inferred_types,
            [f"{field.name}: {field.type}" for field in self.partition_columns],
            self.champion.plan.own_split_keys if self.champion else (),
            self.arms,
        )


@dataclass(frozen=True)
class Standing:
    """The published scores, compared with those that would be scored now.

    ``same``: they have the same content key. ``lost``: they do, but some of their files are gone.
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
    """The splits to score; None if ``requeue`` finds no quarantined row.

    The name of a published file is never given to other bytes, not even if they are made of the
    same contents, as after a rollback. So contents that were published before get other keys.

    Raises:
        StateError: quarantined rows can't be scored again, since the night has changed.
    """
    current = standing.current
    if requeue:
        if current is None or not standing.same or standing.lost:
            raise _cannot_requeue(loaded.pipeline.name, partition, current)
        if not current.quarantine:
            return None
        return _requeued(Run.at(output.state, current.run_key), current)
    return keyed.splits(salt_of(output, force, standing))


def salt_of(output: TablePartition, force: bool, standing: Standing) -> str:
    """What makes other keys of contents that were published before; "" if they were not."""
    current = standing.current
    if current is None:
        return ""
    needs_other_keys = force or standing.lost
    if not needs_other_keys and not standing.same:
        needs_other_keys = _was_published(output, current, standing.content_key)
    return f"again after {current.id}" if needs_other_keys else ""


def requeued_keys(keys: Sequence[str], run: Run, current: Manifest) -> tuple[str, ...]:
    """Keys of a published run's splits, in order; of those with quarantined rows other ones."""
    quarantined = {file.split for file in current.quarantine}
    return tuple(
        digest(key, f"requeued after {current.id}") if split.key in quarantined else key
        for key, split in zip(keys, run.plan.splits, strict=True)
    )


def _was_published(output: TablePartition, current: Manifest, run_key: str) -> bool:
    """Whether the run was published, or may have been, since an earlier manifest can't be read."""
    lineage, broken = output.state.known_lineage(current)
    return broken is not None or run_key in {m.run_key for m in lineage}


def _requeued(run: Run, current: Manifest) -> tuple[Split, ...]:
    """The splits of the published run; those with quarantined rows have other keys."""
    splits = run.plan.splits
    keys = requeued_keys([split.key for split in splits], run, current)
    return tuple(replace(split, key=key) for split, key in zip(splits, keys, strict=True))


def _cannot_requeue(name: str, partition: Partition, current: Manifest | None) -> StateError:
    if current is None:
        return StateError(f"{name} {partition.key} is not published: nothing to requeue")
    return StateError(
        f"{name} {partition.key}: the input, the model or the settings are not those of manifest "
        f"{current.id} any more, or its files were lost. `nocturne score {name} --date "
        f"{partition.key}` scores all that changed, its quarantined rows too"
    )
