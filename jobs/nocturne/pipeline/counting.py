"""The columns that the workers profile, their centres, and the segments."""

from __future__ import annotations

from collections.abc import Mapping

from nocturne import drift
from nocturne.config.models import Drift
from nocturne.encoders import ENCODERS
from nocturne.encoding import Encoding
from nocturne.errors import ConfigError, choices
from nocturne.records.drift import Baseline

__all__ = ["centers", "segments"]


_TEXT = ("string", "bool", "boolean")
_PROFILED = ("float32", "float64", "int64", *_TEXT)
"""Types of outputs that are profiled."""


def centers(encoding: Encoding, baseline: Baseline | None) -> dict[str, float | int | None]:
    """The profiled features and outputs -> their centre; None for a category.

    Columns of the baseline have its centres, so that both are counted in the same buckets.
    """
    by_column: dict[str, float | int | None] = {}
    for tensor, feature in encoding.features():
        if kind := ENCODERS[tensor.encoder].profiled(feature):
            by_column[feature.column] = None if kind == "category" else 0.0
    for output in (o for o in encoding.outputs if not o.length and o.type in _PROFILED):
        by_column[output.name] = None if output.type in _TEXT else 0.0
    for name, column in (baseline.columns if baseline else {}).items():
        if name in by_column:
            by_column[name] = column.center if column.kind == "numeric" else None
    return by_column


def segments(
    settings: Drift, baseline: Baseline | None, profile_centers: Mapping[str, float | int | None]
) -> dict[str, tuple[str, ...]]:
    """Each column in ``drift.segments`` -> its most frequent values in training."""
    if baseline is None and settings.baseline == "model":
        return {}  # no drift is measured; the report says so
    categories = {
        name: column.profile
        for name, column in (baseline.columns if baseline else {}).items()
        if column.profile is not None and profile_centers.get(name, 0.0) is None
    }
    if unknown := [name for name in settings.segments if name not in categories]:
        raise ConfigError(
            f"drift.segments names {choices(unknown)}; expected features that are categories in "
            f"the model's own baseline ({choices(categories) or 'it has none'})"
        )
    return {name: drift.segment_values(categories[name]) for name in settings.segments}
