"""The profile room: mergeable one-pass statistics of features and predictions."""

from nocturne.profile.accumulate import TableProfiler
from nocturne.profile.merge import merge

__all__ = ["TableProfiler", "merge"]
