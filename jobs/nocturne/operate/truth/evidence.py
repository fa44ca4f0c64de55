"""Promotion on evidence: what labels say of a challenger, and the champion's alias moved by it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from nocturne.config import Loaded
from nocturne.config.labels import Promote
from nocturne.errors import ConfigError, NocturneError, StateError
from nocturne.model import aliases
from nocturne.operate.aliases import registry
from nocturne.operate.truth.nights import known_truth
from nocturne.pipeline.nights import PublishedNights
from nocturne.records.aliases import AliasChange
from nocturne.records.evidence import Evidence
from nocturne.records.partition import Partition
from nocturne.records.truth import BETTER, Against, Difference, Truth
from nocturne.truth import pooled

__all__ = ["evidence_of", "promote_on"]


def evidence_of(loaded: Loaded, *, ask: bool = True) -> Evidence:
    """The evidence of the newest nights that the same two versions scored, and what it is worth.

    Args:
        ask: look in the registry which version the champion is by now; else the newest published
            night says it.

    Raises:
        RegistryUnavailable: the registry is asked and does not answer.
        ConfigError: the pipeline has no section ``promote``.
        StateError: a night's truth is damaged.
    """
    pipeline = loaded.pipeline
    promote, alias = pipeline.promote, pipeline.model.alias
    if promote is None or alias is None:
        raise ConfigError(
            f"{pipeline.name} has no section promote (conf/pipelines/{pipeline.name}.yaml)"
        )
    name, metric = promote.challenger or pipeline.challengers[0].called, promote.when.metric
    nights = _nights(loaded, name, metric, promote.when.nights)
    versions = next(iter(nights.values()), None)
    found = Evidence(
        pipeline.name,
        pipeline.model.name,
        alias,
        name,
        versions[0].model_version if versions else None,
        versions[1].version if versions else None,
        metric,
        BETTER[metric],
        {key: against.differences[metric].value for key, (_, against) in nights.items()},
    )
    if not nights:
        return replace(found, why=f"no night with labels has {metric} of both")
    mean = pooled(list(found.nights.values()))
    found = replace(
        found, mean=Difference(mean.value, mean.low, mean.high), segments=_segments(promote, nights)
    )
    lacks = _lacks(promote, found)
    now = _champion(loaded, found) if ask else _newest(loaded)
    if now != found.champion:
        lacks.insert(0, f"version {now} is the {found.alias} by now, and not {found.champion}")
    return replace(found, proposed=not lacks, why="; ".join(lacks) or _in_words(found))


def promote_on(loaded: Loaded, found: Evidence, version: int | None, by: str) -> AliasChange:
    """Move the champion's alias to the challenger.

    Args:
        version: which one somebody has agreed to; None: that of the evidence.

    Raises:
        StateError: the evidence does not hold, or it is of another version.
        Superseded: the alias was moved meanwhile.
    """
    if not found.proposed or found.challenger is None:
        raise StateError(f"{found.name} is not promoted: {found.why}")
    if version not in (None, found.challenger):
        raise StateError(
            f"{found.name} is version {found.challenger} by now, and version {version} was agreed "
            "to: look at the evidence again"
        )
    with registry(loaded) as client:
        return aliases.promote(
            client, found.model, found.alias, found.challenger, by, found.why, found.champion
        )


def _champion(loaded: Loaded, found: Evidence) -> int | None:
    """The version behind the alias; None if there is none."""
    with registry(loaded) as client:
        there = dict(client.get_registered_model(found.model).aliases).get(found.alias)
    return int(there) if there is not None else None


def _newest(loaded: Loaded) -> int | None:
    """The champion of the newest published night."""
    nights = PublishedNights(loaded)
    for night in reversed(nights.partitions(None if loaded.pipeline.input.partition else "all")):
        with suppress(NocturneError):
            return nights.manifest(night).model.version
    return None


def _nights(loaded: Loaded, name: str, metric: str, most: int) -> dict[str, tuple[Truth, Against]]:
    """The newest nights that were scored by the same two versions, oldest first."""
    nights, found = PublishedNights(loaded), dict[str, tuple[Truth, Against]]()
    for night in reversed(nights.partitions(None if loaded.pipeline.input.partition else "all")):
        truth = known_truth(nights.state_of(night))
        against = truth.against.get(name) if truth is not None else None
        if truth is None or against is None or metric not in against.differences:
            continue
        if not _in_force(nights, night, truth):
            continue
        first = next(iter(found.values()), None)
        ours = (truth.model_version, against.version)
        if first is not None and ours != (first[0].model_version, first[1].version):
            break
        found[night.key] = truth, against
        if len(found) == most:
            break
    return dict(reversed(found.items()))


def _in_force(nights: PublishedNights, night: Partition, truth: Truth) -> bool:
    """Whether the night still has the scores that were counted."""
    try:
        return bool(nights.manifest(night).id == truth.manifest)
    except NocturneError:
        return False


def _segments(promote: Promote, nights: Mapping[str, tuple[Truth, Against]]) -> dict[str, float]:
    """The mean difference of each value of the segment over the nights that have it."""
    if promote.unless is None:
        return {}
    by_value: dict[str, list[float]] = {}
    for _, against in nights.values():
        for part, figures in against.segments.items():
            if part.startswith(f"{promote.unless.segment}=") and promote.when.metric in figures:
                by_value.setdefault(part, []).append(figures[promote.when.metric])
    return {part: sum(values) / len(values) for part, values in sorted(by_value.items())}


def _gain(found: Evidence, difference: float) -> float:
    """By how much the challenger is better."""
    return difference if found.better == "more" else -difference


def _lacks(promote: Promote, found: Evidence) -> list[str]:
    """What ``promote:`` asks for and does not hold, in words."""
    when, lacks, mean = promote.when, list[str](), found.mean
    assert mean is not None
    if len(found.nights) < when.nights:
        lacks.append(
            f"{len(found.nights)} of {when.nights} nights have labels for version "
            f"{found.champion} and {found.challenger}"
        )
    gain = _gain(found, mean.value)
    if gain < when.better_by or gain <= 0:
        lacks.append(f"{found.metric} is better by {gain:.4g}, and {when.better_by:g} is asked for")
    if when.interval == "excludes_zero":
        if mean.low is None or mean.high is None:
            lacks.append("one night has no interval")
        elif mean.low <= 0 <= mean.high:
            lacks.append(
                f"the 95% interval over nights, {mean.low:.4g} to {mean.high:.4g}, contains 0"
            )
    if (unless := promote.unless) is not None:
        for part, difference in found.segments.items():
            if -_gain(found, difference) > unless.worse_by:
                lacks.append(
                    f"{found.metric} of {part} is worse by {-_gain(found, difference):.4g}, more "
                    f"than {unless.worse_by:g}"
                )
    return lacks


def _in_words(found: Evidence) -> str:
    mean, keys = found.mean, list(found.nights)
    assert mean is not None
    sure = "" if mean.low is None else f" (95%: {mean.low:+.4g} to {mean.high:+.4g})"
    return (
        f"{found.metric} {mean.value:+.4g}{sure} against version {found.champion} over "
        f"{len(keys)} nights with labels, {keys[0]} to {keys[-1]}"
    )
