"""How challengers compare with their champion, over the nights that both have published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from nocturne import config
from nocturne.config import Loaded, champion_of
from nocturne.errors import ConfigError, NocturneError
from nocturne.pipeline.nights import PublishedNights
from nocturne.profile.comparing import merged
from nocturne.records.comparison import Comparison
from nocturne.records.manifest import Manifest
from nocturne.records.partition import Partition
from nocturne.store.record_files import find
from nocturne.store.run import Run

__all__ = ["Compared", "compared"]


@dataclass(frozen=True)
class Compared:
    """A challenger beside its champion, over some nights.

    Attributes:
        nights: partition -> the manifests of the champion and of the challenger.
        missing: partition -> why it is not compared.
    """

    challenger: str
    nights: dict[str, tuple[Manifest, Manifest]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    comparison: Comparison | None = None

    @property
    def versions(self) -> tuple[list[int], list[int]]:
        """The versions of the champion and of the challenger that scored the nights."""
        sides = zip(*self.nights.values(), strict=True) if self.nights else ((), ())
        first, second = (sorted({m.model.version for m in side}) for side in sides)
        return first, second


def compared(loaded: Loaded, nights: Sequence[Partition]) -> list[Compared]:
    """Each challenger of the pipeline, over the partitions.

    Raises:
        ConfigError: it has none, or is one.
    """
    pipeline = loaded.pipeline
    if champion_of(pipeline.name) != pipeline.name:
        raise ConfigError(
            f"{pipeline.name} is a challenger: compare {champion_of(pipeline.name)} with its own"
        )
    if not pipeline.challengers:
        raise ConfigError(
            f"{pipeline.name} has no challengers: name some in conf/pipelines/{pipeline.name}.yaml"
        )
    names = [f"{pipeline.name}@{challenger.called}" for challenger in pipeline.challengers]
    return [_compared(loaded, config.load(name, root=loaded.home), nights) for name in names]


def _compared(champion: Loaded, challenger: Loaded, nights: Sequence[Partition]) -> Compared:
    name = challenger.pipeline.name.partition("@")[2]
    both, missing, parts = dict[str, tuple[Manifest, Manifest]](), dict[str, str](), []
    first, second = PublishedNights(champion), PublishedNights(challenger)
    for night in nights:
        try:
            pair = first.manifest(night), second.manifest(night)
            run = Run.at(second.state_of(night), pair[1].run_key)
            found = find(Comparison, run.comparison_file)
        except NocturneError as error:
            missing[night.key] = str(error)
            continue
        if run.plan.champion != pair[0].own_key:
            missing[night.key] = "the champion's night was scored again since, without it"
        elif found is None:
            missing[night.key] = "it was scored alone, and not in the champion's pass"
        else:
            both[night.key] = pair
            parts.append(found)
    return Compared(name, both, missing, merged(parts))
