"""The truth room: how scores compare with the labels that came late, and what to expect before."""

from nocturne.truth.estimate import estimate
from nocturne.truth.paired import Paired
from nocturne.truth.pooled import pooled
from nocturne.truth.probabilities import Bin
from nocturne.truth.tally import Kind, Tally

__all__ = ["Bin", "Kind", "Paired", "Tally", "estimate", "pooled"]
