"""Which model scored which nights: stretches of nights with the same one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from nocturne.operate.status import PartitionStatus

__all__ = ["Reign", "reigns", "took_over"]


@dataclass(frozen=True)
class Reign:
    """Published nights, one after the other, that the same models scored.

    ``name``, ``version``: the champion. ``others``: the models that had a share of the keys.
    """

    name: str
    version: int
    others: tuple[str, ...]
    first: str
    last: str
    nights: int = 1

    @property
    def told(self) -> str:
        """The models and the nights, in words."""
        also = f", and {', '.join(self.others)}" if self.others else ""
        when = self.first if self.nights == 1 else f"{self.first} to {self.last}"
        nights = "1 night" if self.nights == 1 else f"{self.nights} nights"
        return f"{self.name} version {self.version}{also}: {when}, {nights}"


def reigns(statuses: Iterable[PartitionStatus]) -> list[Reign]:
    """The stretches of published nights.

    Args:
        statuses: in the order of the partitions.
    """
    found: list[Reign] = []
    for status in statuses:
        if (manifest := status.manifest) is None:
            continue
        ours = Reign(
            manifest.model.name, manifest.model.version, manifest.others, status.key, status.key
        )
        if found and _models(found[-1]) == _models(ours):
            found[-1] = replace(found[-1], last=status.key, nights=found[-1].nights + 1)
        else:
            found.append(ours)
    return found


def _models(reign: Reign) -> tuple[str, int, tuple[str, ...]]:
    return reign.name, reign.version, reign.others


def took_over(before: int | None, now: int | None) -> str:
    """That another version scored this night than the one before, in words; "" if none did."""
    if before is None or now is None or before == now:
        return ""
    return f"version {now} took over from version {before}"
