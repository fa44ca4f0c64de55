"""The truth room: how scores compare with the labels that came late."""

from nocturne.truth.binary import Auc, Bin, auc, average_precision, binary_figures, reliability
from nocturne.truth.numbers import number_figures

__all__ = [
    "Auc",
    "Bin",
    "auc",
    "average_precision",
    "binary_figures",
    "number_figures",
    "reliability",
]
