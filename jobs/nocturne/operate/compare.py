"""Two nights, or two model versions, beside each other, with the differences of their columns."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from nocturne import profile
from nocturne.config import Loaded, partition
from nocturne.errors import ConfigError, StateError, choices
from nocturne.objects.together import together
from nocturne.operate.judged import JudgedNight, judged_nights, night_profile, partitions_until
from nocturne.operate.over_nights import null_rate
from nocturne.operate.status import PartitionStatus, status_of
from nocturne.pipeline.places import Places
from nocturne.records.drift import FeatureDrift
from nocturne.records.manifest import Manifest
from nocturne.records.partition import Partition
from nocturne.records.profile import ColumnProfile, Profile
from nocturne.report.histograms import Bin, Histogram, histogram
from nocturne.report.summary import column_summary

__all__ = ["Difference", "Side", "differences", "side_of", "versions_in_force"]

_VERSION = re.compile(r"v(\d{1,9})")
_LATEST = 90
"""Of the last so many partitions, those of a model version are put together."""


@dataclass(frozen=True)
class Side:
    """One of the two: a night, or the nights in force that one model version scored.

    ``drift``: the columns' drift; empty for a model version, whose nights have each their own.
    """

    name: str
    nights: tuple[JudgedNight, ...]
    profile: Profile

    @property
    def rows_in(self) -> int:
        return sum(night.judgement.rows_in for night in self.nights)

    @property
    def quarantined(self) -> int:
        return sum(night.judgement.quarantined for night in self.nights)

    @property
    def drift(self) -> dict[str, FeatureDrift]:
        if len(self.nights) != 1:
            return {}
        return {f.column: f for f in self.nights[0].judgement.drift.columns}


def side_of(loaded: Loaded, name: str) -> Side:
    """A side by its name.

    Args:
        name: a partition key (its last run); ``KEY:MANIFEST`` (one of its manifests); or ``v7``
            (the nights in force among the last 90 that version 7 scored).

    Raises:
        ConfigError: there is no such night or version.
        StateError: its statistics are gone, or can't be put together.
    """
    if version := _VERSION.fullmatch(name):
        nights = [
            night
            for night in judged_nights(loaded, partitions_until(loaded, count=_LATEST))
            if _scored_in_force(night) == int(version[1])
        ]
        if not nights:
            raise ConfigError(
                f"none of the last {_LATEST} nights of {loaded.pipeline.name} in force was scored "
                f"by version {version[1]}: expected a partition key, KEY:MANIFEST, or v and a "
                "version that scored some"
            )
    else:
        nights = [_night(loaded, name)]
    profiles = together(night_profile, nights)
    if gone := [n.key for n, p in zip(nights, profiles, strict=True) if p is None]:
        raise StateError(f"the statistics of {', '.join(gone[:5])} are gone: judge it again")
    there = [p for p in profiles if p is not None]
    return Side(name, tuple(nights), there[0] if len(there) == 1 else _merged(name, there))


def versions_in_force(nights: Iterable[JudgedNight]) -> list[int]:
    """The model versions that scored those of the nights that are in force, the latest first."""
    versions = {version for night in nights if (version := _scored_in_force(night)) is not None}
    return sorted(versions, reverse=True)


def _scored_in_force(night: JudgedNight) -> int | None:
    return night.version if night.status.state == "published" else None


def _merged(name: str, profiles: Sequence[Profile]) -> Profile:
    """Raises: StateError if a column was counted in different ways, so that it can't be merged."""
    ways: dict[str, set[tuple[str, float]]] = {}
    for part in profiles:
        for column, counted in part.columns.items():
            ways.setdefault(column, set()).add((counted.kind, counted.center))
    if differ := [column for column, seen in ways.items() if len(seen) > 1]:
        raise StateError(
            f"{choices(differ[:5])} were counted around different centres in the nights of {name}: "
            "compare single nights"
        )
    return profile.merge(profiles)


def _night(loaded: Loaded, name: str) -> JudgedNight:
    key, _, id_ = name.partition(":")
    names = loaded.pipeline.input.partition
    of = partition(names, key) if names else Partition("all")
    if not id_:
        found = judged_nights(loaded, [of])
        if not found:
            raise ConfigError(f"{loaded.pipeline.name} {key} is not judged: nothing to see")
        return found[0]
    places = Places.of(loaded)
    state, now = places.state.partition(of), status_of(loaded, of, places)
    if id_ not in (known := state.manifest_ids()):
        raise ConfigError(
            f"{loaded.pipeline.name} {key} has no manifest {id_[:60]!r}: expected one of "
            f"{choices(known)}"
        )
    manifest: Manifest = state.manifest(id_)
    status = PartitionStatus(
        of.key,
        "published",
        now.input,
        manifest,
        manifest_file=state.manifest_file(id_),
        run=state.run(manifest.run_key),
    )
    return JudgedNight(status, state.judgement(manifest))


@dataclass(frozen=True)
class Difference:
    """A column on both sides. ``first`` and ``second`` are None where a side lacks it.

    ``apart``: the share of rows that would have to move to another bar for both histograms to be
    equal, 0 to 1 (the total variation distance of the drawn bars); None if only one has it.
    ``histogram``: the first side drawn against the second, as shares of all rows, nulls in a bar of
    their own; None if the values must not be shown (``is_hidden``).
    """

    column: str
    first: ColumnProfile | None
    second: ColumnProfile | None
    apart: float | None
    histogram: Histogram | None
    is_hidden: bool = False

    def summaries(self) -> tuple[dict[str, float], dict[str, float]]:
        """Quantiles, mean and null rate on each side; of a hidden column the null rate alone."""
        return self._summary(self.first), self._summary(self.second)

    def _summary(self, column: ColumnProfile | None) -> dict[str, float]:
        if column is None:
            return {}
        summary = {} if self.is_hidden else column_summary(column)
        rate = null_rate(column)
        return summary | ({} if rate is None else {"nulls": rate})


def differences(first: Side, second: Side, hidden: Collection[str] = ()) -> list[Difference]:
    """Every column of either side, the one that differs most first.

    Args:
        hidden: the columns whose values must not be shown.
    """
    names = dict.fromkeys((*first.profile.columns, *second.profile.columns))
    found = [
        _difference(name, first.profile.columns.get(name), second.profile.columns.get(name), hidden)
        for name in names
    ]
    return sorted(found, key=lambda d: (-(2.0 if d.apart is None else d.apart), d.column))


def _difference(
    name: str, first: ColumnProfile | None, second: ColumnProfile | None, hidden: Collection[str]
) -> Difference:
    is_hidden = name in hidden
    if first is None or second is None or first.kind != second.kind:
        return Difference(name, first, second, None, None, is_hidden)
    bars = _of_all_rows(histogram(first, second), null_rate(first) or 0.0, null_rate(second) or 0.0)
    pairs = [(bin_.current, bin_.baseline or 0.0) for bin_ in bars.bins]
    shown = None if is_hidden else bars
    return Difference(name, first, second, _apart(pairs), shown, is_hidden)


def _of_all_rows(bars: Histogram, nulls: float, nulls_before: float) -> Histogram:
    """The histogram with nulls, if there are any, as a bar of their own."""
    if not nulls and not nulls_before:
        return bars
    shares = (
        replace(
            bin_,
            current=bin_.current * (1 - nulls),
            baseline=(bin_.baseline or 0.0) * (1 - nulls_before),
        )
        for bin_ in bars.bins
    )
    missing = Bin("null", 0.0, 0.0, nulls, nulls_before)
    return Histogram((*shares, missing), bars.outside * (1 - nulls))


def _apart(pairs: Sequence[tuple[float, float]]) -> float:
    """Total variation; what is in no bar on either side counts as one more bar."""
    outside = [max(0.0, 1 - sum(side)) for side in zip(*pairs, strict=True)] or [0.0, 0.0]
    return float(sum(abs(a - b) for a, b in [*pairs, (outside[0], outside[1])])) / 2
