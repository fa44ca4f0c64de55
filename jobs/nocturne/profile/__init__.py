"""The profile room: mergeable one-pass statistics of features and predictions.

``TableProfiler`` counts what drift compares, ``Measurer`` counts what expectations need, and
``key_hashes`` hashes keys, so that duplicates can be found.
"""

from nocturne.profile.accumulate import TableProfiler
from nocturne.profile.columns import Rows
from nocturne.profile.comparing import Comparer
from nocturne.profile.measures import EXAMPLES, MAX_DISTINCT, Measurer, merge_measured
from nocturne.profile.merge import merge
from nocturne.profile.tally import compile_loops

__all__ = [
    "EXAMPLES",
    "MAX_DISTINCT",
    "Comparer",
    "Measurer",
    "Rows",
    "TableProfiler",
    "compile_loops",
    "merge",
    "merge_measured",
]
