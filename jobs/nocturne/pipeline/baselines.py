"""What a night is compared with: the model's baseline, or one made of published nights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nocturne import drift, publish, registry
from nocturne.config import Loaded
from nocturne.config.models import Span
from nocturne.errors import StateError
from nocturne.layout import Layout
from nocturne.pipeline.ordinary import calm
from nocturne.pipeline.runs import nights
from nocturne.records import Baseline, Manifest, Profile, Run, read

__all__ = ["baseline_of", "built", "in_numbers"]


def baseline_of(run: Run, loaded: Loaded) -> tuple[Baseline | None, str]:
    """The baseline that ``drift.baseline`` names, and in words what it is of.

    Returns:
        None if the model has none, or no night is published that it could be made of. No words
        for the model's own.
    """
    wanted = loaded.pipeline.drift.baseline
    if wanted == "model":
        return registry.Resolved(run.model).baseline, ""
    if isinstance(wanted, Span):
        chosen = [night for night in nights(loaded)
                  if wanted.first <= night.partition.key <= wanted.last
                  and night.partition.key != run.partition.key]  # fmt: skip
        said = f"the {len(chosen)} published nights from {wanted.first} to {wanted.last}"
    else:
        before = nights(loaded, before=run.partition.key, last=7 * wanted.weeks)
        chosen = [night for night in before if calm(night) and _same_weekday(night, run)]
        said = f"the same weekday of {len(chosen)} past weeks"
    return (built(loaded, chosen), said) if chosen else (None, f"{said}: there are none")


def _same_weekday(night: Manifest, run: Run) -> bool:
    one, other = (drift.day_of(key) for key in (night.partition.key, run.partition.key))
    return one is not None and other is not None and one.weekday() == other.weekday()


def built(loaded: Loaded, chosen: Sequence[Manifest]) -> Baseline:
    """A baseline of published nights, from the profiles that they left.

    Raises:
        StateError: there is no night, or the profile of one is gone.
        ModelError: the nights were counted around different centres.
    """
    if not chosen:
        raise StateError(f"no night of {loaded.pipeline.name} is published there; see `nocturne "
                         f"status {loaded.pipeline.name}`")  # fmt: skip
    layout = Layout.of(loaded)
    profiles, outputs = {}, dict[str, None]()
    for night in chosen:
        folder = publish.run_folder(layout.partition_state(night.partition), night)
        profiles[night.partition.key] = read(Profile, Path(folder) / "profile.json")
        outputs |= dict.fromkeys(night.score_summary)
    known = {name for profile in profiles.values() for name in profile.columns}
    return drift.build_baseline(profiles, [name for name in outputs if name in known])


def in_numbers(baseline: Baseline) -> list[dict[str, Any]]:
    """A baseline column by column: rows, partitions, bins, and the PSI of ordinary days."""
    found = []
    for name, column in baseline.columns.items():
        keys = sorted(column.partitions)
        found.append({
            "column": name,
            "kind": column.kind,
            "output": name in baseline.outputs,
            "importance": baseline.importance.get(name),
            "rows": sum(column.counts),
            "nulls": column.counts[-1],
            "bins": sum(count > 0 for count in column.counts),
            "partitions": len(keys),
            "first": keys[0] if keys else None,
            "last": keys[-1] if keys else None,
            "ordinary_psi": drift.ordinary_psi(column),
        })  # fmt: skip
    return found
