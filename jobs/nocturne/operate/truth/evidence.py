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
from nocturne.operate.truth.sides import Sides, truth_of
from nocturne.pipeline.model import version_now
from nocturne.records.aliases import AliasChange
from nocturne.records.evidence import Evidence
from nocturne.records.truth import BETTER, Against, Truth
from nocturne.truth import pooled

__all__ = ["evidence_of", "promote_on"]

_COVERED = 0.99
"""The least share of the champion's rows that a challenger must have scores for."""


def evidence_of(loaded: Loaded, *, ask: bool = True) -> Evidence:
    """The evidence of the newest nights that the same two versions scored, and what it is worth.

    Args:
        ask: look in the registry which versions the champion and the challenger are by now, and
            whether this promotion was taken back; else the newest published night says which the
            champion is.

    Raises:
        ConfigError: the pipeline has no section ``promote``.
        StateError: a night's truth is damaged.
        RegistryUnavailable: the registry is asked and does not answer.
    """
    pipeline = loaded.pipeline
    promote, alias = pipeline.promote, pipeline.model.alias
    if promote is None or alias is None:
        raise ConfigError(
            f"{pipeline.name} has no section promote (conf/pipelines/{pipeline.name}.yaml)"
        )
    sides = Sides(loaded)
    name, metric = promote.challenger or pipeline.challengers[0].called, promote.when.metric
    nights = _nights(sides, name, metric, promote.when.nights)
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
        return replace(
            found,
            why=f"no night, counted as labels: asks now, has {metric} of both (`nocturne truth "
            f"{pipeline.name} --due` counts)",
        )
    values, undefined = _segments(promote, nights)
    found = replace(found, mean=pooled(list(found.nights.values())), segments=values)
    lacks = [*(_moved(sides, found) if ask else _replaced(sides, found)), *_lacks(promote, found)]
    lacks += _uncovered(nights)
    if found.challenger == found.champion:
        lacks.append(
            f"{name} is version {found.champion}, as the {alias} is: there is nothing to move"
        )
    if promote.unless is not None and not (values or undefined):
        lacks.append(f"no value of {promote.unless.segment} was counted")
    why = "; ".join(lacks) or _in_words(found, nights)
    if undefined:
        why += f"; {metric} is not defined for {', '.join(undefined[:5])}"
    return replace(found, proposed=not lacks, why=why)


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
            client, found.model, found.alias, found.challenger, by, found.why, found.champion or 0
        )


def _moved(sides: Sides, found: Evidence) -> list[str]:
    """What the registry says against it: other versions by now, or that it was taken back."""
    with registry(sides.loaded) as client:
        model = client.get_registered_model(found.model)
        there = dict(model.aliases).get(found.alias)
        changes = aliases.changes_of(model.tags, found.alias)
    lacks = []
    if (None if there is None else int(there)) != found.champion:
        lacks.append(f"version {there} is the {found.alias} by now, and not {found.champion}")
    if (now := version_now(sides.challengers[found.name])) != found.challenger:
        lacks.append(f"{found.name} is version {now} by now, and not {found.challenger}")
    last = changes[-1] if changes else None
    if last is not None and last.how == "demoted" and last.before == found.challenger:
        why = f" ({last.why})" if last.why else ""
        lacks.append(
            f"version {found.challenger} was demoted{why}: promote it by `nocturne promote`"
        )
    return lacks


def _replaced(sides: Sides, found: Evidence) -> list[str]:
    """What the newest published night says against it: another champion."""
    for night in reversed(sides.partitions()):
        with suppress(NocturneError):
            if (manifest := sides.manifest(night)) is None:
                continue
            if (now := manifest.model.version) != found.champion:
                return [f"version {now} is the {found.alias} by now, and not {found.champion}"]
            break
    return []


def _nights(sides: Sides, name: str, metric: str, most: int) -> dict[str, tuple[Truth, Against]]:
    """The newest nights that were scored by the same two versions, oldest first.

    Their scores, and the challenger's, are in force still, and their labels were asked the same.
    """
    model, found = sides.loaded.pipeline.model.name, dict[str, tuple[Truth, Against]]()
    for night in reversed(sides.partitions()):
        with suppress(NocturneError):
            if (manifest := sides.manifest(night)) is None:
                continue
            truth = truth_of(sides.state(night), manifest)
            against = truth.against.get(name) if truth is not None else None
            if truth is None or against is None or metric not in against.differences:
                continue
            if truth.asked != sides.asked(sides.beside(night)):
                continue
            if (truth.model, against.model) != (model, model):
                continue
            first = next(iter(found.values()), None)
            ours = (truth.model_version, against.version)
            if first is not None and ours != (first[0].model_version, first[1].version):
                break
            found[night.key] = truth, against
            if len(found) == most:
                break
    return dict(reversed(found.items()))


def _segments(
    promote: Promote, nights: Mapping[str, tuple[Truth, Against]]
) -> tuple[dict[str, float], list[str]]:
    """The mean difference of each value of the segment over the nights that have it.

    Also the values for which the figure is not defined in any night.
    """
    if promote.unless is None:
        return {}, []
    by_value: dict[str, list[float]] = {}
    for _, against in nights.values():
        for part, figures in against.segments.items():
            if part.startswith(f"{promote.unless.segment}="):
                known = by_value.setdefault(part, [])
                known += [v for name, v in figures.items() if name == promote.when.metric]
    means = {part: sum(vs) / len(vs) for part, vs in sorted(by_value.items()) if vs}
    return means, sorted(part for part, values in by_value.items() if not values)


def _uncovered(nights: Mapping[str, tuple[Truth, Against]]) -> list[str]:
    """That the challenger has no scores for many of the rows on which the champion is judged."""
    compared = sum(against.rows for _, against in nights.values())
    part = [t.parts.get(f"version {t.model_version}") for t, _ in nights.values()]
    rows = sum(p.figures.get("rows", 0.0) for p in part if p is not None)
    if compared >= _COVERED * rows:
        return []
    return [f"the challenger has scores for {compared / rows:.1%} of the champion's rows only"]


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


def _in_words(found: Evidence, nights: Mapping[str, tuple[Truth, Against]]) -> str:
    mean, keys = found.mean, list(found.nights)
    rows = sum(against.rows for _, against in nights.values())
    assert mean is not None
    sure = "" if mean.low is None else f" (95%: {mean.low:+.4g} to {mean.high:+.4g})"
    return (
        f"{found.metric} {mean.value:+.4g}{sure} against version {found.champion} over "
        f"{len(keys)} nights with labels, {keys[0]} to {keys[-1]}, {rows:,} rows"
    )
