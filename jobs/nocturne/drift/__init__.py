"""The drift room: a night's profile against the baseline of the model's training data."""

from nocturne.drift.baseline import BASELINE_VERSION, build_baseline
from nocturne.drift.bins import segment_values
from nocturne.drift.judge import in_segment, judge
from nocturne.drift.metrics import METRICS
from nocturne.drift.threshold import day_of, ordinary_psi

__all__ = [
    "BASELINE_VERSION",
    "METRICS",
    "build_baseline",
    "day_of",
    "in_segment",
    "judge",
    "ordinary_psi",
    "segment_values",
]
