"""What the workers count of features and predictions: around which centres, which segments."""

from __future__ import annotations

from collections.abc import Mapping

from nocturne import drift
from nocturne.config.models import Drift
from nocturne.encoders import ENCODERS
from nocturne.encoding import Encoding
from nocturne.errors import ConfigError, choices
from nocturne.records.drift import Baseline

__all__ = ["centers", "segments"]


_WORDS = ("string", "bool", "boolean")
_COUNTED = ("float32", "float64", "int64", *_WORDS)
"""Of outputs."""


def centers(encoding: Encoding, baseline: Baseline | None) -> dict[str, float | int | None]:
    """What the workers profile: features and outputs; a centre for numbers, None for words.

    The baseline says it for its own columns, so that both are counted in the same buckets.
    """
    found: dict[str, float | int | None] = {}
    for tensor, feature in encoding.features():
        if kind := ENCODERS[tensor.encoder].profiled(feature):
            found[feature.column] = None if kind == "category" else 0.0
    for output in (o for o in encoding.outputs if not o.length and o.type in _COUNTED):
        found[output.name] = None if output.type in _WORDS else 0.0
    for name, column in (baseline.columns if baseline else {}).items():
        if name in found:
            found[name] = column.center if column.kind == "numeric" else None
    return found


def segments(
    wanted: Drift, baseline: Baseline | None, counted: Mapping[str, float | int | None]
) -> dict[str, tuple[str, ...]]:
    """Of each column in ``drift.segments`` the values that training has most of."""
    if baseline is None and wanted.baseline == "model":
        return {}  # there is no drift at all, as the report says
    words = {
        name: column.profile
        for name, column in (baseline.columns if baseline else {}).items()
        if column.profile is not None and counted.get(name, 0.0) is None
    }
    if unknown := [name for name in wanted.segments if name not in words]:
        raise ConfigError(
            f"drift.segments names {choices(unknown)}; expected features that are categories in "
            f"the model's own baseline ({choices(words) or 'it has none'})"
        )
    return {name: drift.segment_values(words[name]) for name in wanted.segments}
