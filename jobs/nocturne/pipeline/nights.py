"""The published nights of a pipeline, by partition and by name."""

from __future__ import annotations

import logging

from nocturne import config, table
from nocturne.config import Loaded, from_path
from nocturne.errors import NocturneError, RetryableError, StateError, StoreRefused
from nocturne.pipeline.places import Places
from nocturne.pipeline.signer import as_signed
from nocturne.records.manifest import Manifest, PublishedNight
from nocturne.records.partition import Partition
from nocturne.store.partition_state import PartitionState
from nocturne.table_formats.protocol import TablePartition

__all__ = ["PublishedNights", "night_in_force"]

log = logging.getLogger(__name__)


class PublishedNights:
    """The published nights of a pipeline; implements ``nocturne.drift.history.Nights``.

    Args:
        as_signed: leave out nights that are not as ``output.require_signature`` says: what is
            judged by them gets a signature.
    """

    def __init__(self, loaded: Loaded, *, as_signed: bool = False) -> None:
        self._loaded, self._places = loaded, Places.of(loaded)
        self._as_signed = as_signed
        self._names = loaded.pipeline.input.partition

    def partitions(self, whole: str | None = None) -> list[Partition]:
        """Partitions that have state, oldest first.

        Args:
            whole: the key to list an unpartitioned table under. Without it, the list is empty.
        """
        if not self._names:
            return [] if whole is None else [config.partition(self._names, whole)]
        paths = self._places.state.folders(list(self._names))
        known = [p for path in paths if (p := from_path(self._names, path))]
        return sorted(known, key=lambda partition: partition.key)

    def manifest(self, partition: Partition) -> Manifest:
        """The manifest that is in force in a partition.

        Raises:
            StateError: nothing is published.
            PublishError: the folder holds files that no manifest names.
        """
        output = self._places.output(partition)
        manifest = table.published_manifest(output)
        if manifest is None:
            name = self._loaded.pipeline.name
            is_there = output.location.exists()
            raise StateError(
                f"{name} {partition.key} is not published: {output.location} is "
                f"{'empty' if is_there else 'not there'}. See `nocturne status {name}`"
            )
        return manifest

    def state_of(self, partition: Partition) -> PartitionState:
        """The state of a partition."""
        return self._places.state.partition(partition)

    def of(self, key: str) -> PublishedNight | None:
        """The night in force of a partition key; None if there is none, or it can't be read.

        Raises:
            RetryableError, StoreRefused: a store, or a catalog, does not answer, or refuses.
        """
        try:
            output = self._places.output(config.partition(self._names, key))
            return self._checked(output.state, night_in_force(output))
        except (RetryableError, StoreRefused):
            raise
        except NocturneError:
            return None

    def all(
        self, before: str | None = None, last: int | None = None, hour: str = ""
    ) -> list[PublishedNight]:
        """Nights in force, oldest partition first; at most the ``last`` ones ``before`` a key.

        A night that can't be read is left out, since it must not stop others; `status` shows it.

        Args:
            hour: the end of hourly keys, ``T05``: only nights of this hour.
        """
        of_hour = (p for p in self.partitions() if p.key.endswith(hour))
        before_it = [p for p in of_hour if before is None or p.key < before]
        chosen = before_it[-last:] if last else before_it
        with self._places.state.listed(chosen):
            return [night for p in chosen if (night := self.of(p.key))]

    def by_name(self, name: str) -> PublishedNight | None:
        """The night with the name ``key:manifest id``, in force or not; None if it is gone."""
        key, _, id_ = name.rpartition(":")
        state = self._places.state.partition(config.partition(self._names, key))
        try:
            manifest = state.manifest(id_)
            return self._checked(state, PublishedNight(manifest, state.judgement(manifest)))
        except (RetryableError, StoreRefused):
            raise
        except NocturneError:
            return None

    def _checked(
        self, state: PartitionState, night: PublishedNight | None
    ) -> PublishedNight | None:
        return as_signed(self._loaded, state, night) if self._as_signed else night

    def is_accepted(self, manifest: Manifest) -> bool:
        """Whether a person has accepted the drift of a published night."""
        return self._places.state.partition(manifest.partition).accepted(manifest.id).is_file()


def night_in_force(output: TablePartition) -> PublishedNight | None:
    """The published manifest of a partition, with its judgement; None if there is none.

    A judgement that can't be read is logged, and the night counts as none: the partition must stay
    one that can be judged and scored again.

    Raises:
        PublishError, StateError: the manifest can't be read.
    """
    manifest = table.published_manifest(output)
    if manifest is None:
        return None
    try:
        return PublishedNight(manifest, output.state.judgement(manifest))
    except StateError as error:
        log.warning("no night is compared with %s: %s", manifest.partition.key, error)
        return None
