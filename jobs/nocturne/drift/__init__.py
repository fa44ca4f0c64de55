"""The drift room: a night's profile against the baseline of the model's training data."""

from nocturne.drift.baseline import BASELINE_VERSION, build_baseline
from nocturne.drift.judge import judge
from nocturne.drift.metrics import METRICS, wasserstein
from nocturne.drift.threshold import day_of, ordinary_psi

__all__ = ["BASELINE_VERSION", "METRICS", "build_baseline", "day_of", "judge", "ordinary_psi",
           "wasserstein"]  # fmt: skip
