"""What a night's truth is counted of: the scores in force of a pipeline and of its challengers."""

from __future__ import annotations

from contextlib import AbstractContextManager

from nocturne import config, table
from nocturne.config import Loaded, champion_of
from nocturne.config.labels import Labels
from nocturne.errors import ConfigError, StateError
from nocturne.objects import Location
from nocturne.pipeline.nights import PublishedNights
from nocturne.pipeline.places import Places
from nocturne.records.manifest import Manifest
from nocturne.records.partition import Partition
from nocturne.records.truth import Truth
from nocturne.store.files import children, digest
from nocturne.store.partition_state import PartitionState
from nocturne.store.record_files import read

__all__ = ["Sides", "key_of", "labels_of", "last_truth", "truth_of"]

_NO_QUESTION = {"bounds", "poll_seconds", "delay_hours", "settle_days"}
"""What of ``labels`` changes no figure."""


def labels_of(loaded: Loaded) -> Labels:
    """The section ``labels``. Raises: ConfigError if the pipeline has none."""
    name, champion = loaded.pipeline.name, champion_of(loaded.pipeline.name)
    if name != champion:
        raise ConfigError(f"{name} is judged beside its champion: `nocturne truth {champion}`")
    if (labels := loaded.pipeline.labels) is None:
        raise ConfigError(f"{name} has no labels (labels: in conf/pipelines/{name}.yaml)")
    return labels


def key_of(loaded: Loaded) -> list[str]:
    """The columns by which labels are joined."""
    return labels_of(loaded).key or list(loaded.pipeline.output.keys)


class Sides:
    """A pipeline with ``labels``, and its challengers.

    Raises:
        ConfigError: it has no ``labels``.
    """

    def __init__(self, loaded: Loaded) -> None:
        self.loaded, self.labels = loaded, labels_of(loaded)
        self._places = Places.of(loaded)
        self.challengers = {
            challenger.called: config.load(
                f"{loaded.pipeline.name}@{challenger.called}", root=loaded.home
            )
            for challenger in loaded.pipeline.challengers
        }
        self._beside = {name: Places.of(own) for name, own in self.challengers.items()}
        asked = self.labels.model_dump(mode="json", exclude=_NO_QUESTION)
        self._question = digest(asked, key_of(loaded))

    def partitions(self) -> list[Partition]:
        """The partitions that have state, oldest first."""
        if not self.loaded.pipeline.input.partition:
            return [Partition("all")]
        return PublishedNights(self.loaded).partitions()

    def normal(self, night: Partition) -> Partition:
        """The partition; of a table without partitions there is only one, whatever the day."""
        return night if self.loaded.pipeline.input.partition else Partition("all")

    def listed(self) -> AbstractContextManager[None]:
        """Within the block, nights of a state in a store are as they are listed now."""
        return self._places.state.listed()

    def state(self, night: Partition) -> PartitionState:
        """The state of a night."""
        return self._places.state.partition(night)

    def manifest(self, night: Partition) -> Manifest | None:
        """The scores in force; None if nothing is published.

        Raises:
            NocturneError: they can't be read.
        """
        return table.published_manifest(self._places.output(night))

    def beside(self, night: Partition) -> dict[str, Manifest]:
        """The scores in force of the challengers that have scored the night too."""
        found = {name: p.output(night) for name, p in self._beside.items()}
        manifests = {name: table.published_manifest(output) for name, output in found.items()}
        return {name: manifest for name, manifest in manifests.items() if manifest is not None}

    def asked(self, beside: dict[str, Manifest]) -> str:
        """A digest of what is asked of the labels, and of which challengers' scores."""
        return digest(self._question, {name: m.id for name, m in sorted(beside.items())})


def truth_of(state: PartitionState, manifest: Manifest) -> Truth | None:
    """The last truth of scores, also if they were replaced and restored since.

    Raises:
        StateError: it is damaged.
    """
    ids = {manifest.id, manifest.restores}
    for path in reversed(_files(state)):
        if (truth := read(Truth, path)).manifest in ids:
            return truth
    return None


def last_truth(state: PartitionState) -> int:
    """The number of the last truth of a night, whichever scores it is of; 0 without one."""
    files = _files(state)
    try:
        return int(files[-1].stem) if files else 0
    except ValueError:
        raise StateError(f"{files[-1]} is no truth: its name is not a number") from None


def _files(state: PartitionState) -> list[Location]:
    files = [path for path in children(state.place("truth")) if path.suffix == ".json"]
    return sorted(files, key=lambda path: path.name)
