"""The drift room: a night's profile against the baseline, and its rows against earlier nights."""

from nocturne.drift.baseline import BASELINE_VERSION, build_baseline
from nocturne.drift.bins import segment_values
from nocturne.drift.compared import compared_bins
from nocturne.drift.history import (
    Nights,
    calibration_history,
    distances,
    is_ordinary,
    name_of,
)
from nocturne.drift.judge import in_segment, judge
from nocturne.drift.metrics import METRICS
from nocturne.drift.threshold import day_of, ordinary_psi
from nocturne.drift.volume import compare_rows, ordinary_rows

__all__ = [
    "BASELINE_VERSION",
    "METRICS",
    "Nights",
    "build_baseline",
    "calibration_history",
    "compare_rows",
    "compared_bins",
    "day_of",
    "distances",
    "in_segment",
    "is_ordinary",
    "judge",
    "name_of",
    "ordinary_psi",
    "ordinary_rows",
    "segment_values",
]
