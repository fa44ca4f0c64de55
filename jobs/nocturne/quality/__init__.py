"""The quality room: standard Great Expectations suites, checked early and evaluated once.

``measures_of`` says what has to be counted of a table for a suite, ``evaluate`` has Great
Expectations answer it from that (or, where that is asked for, from the files).

``load_suite``, ``columns`` and ``check_columns`` import neither Great Expectations nor
pandas, so that a wrong suite is refused in a moment and before anything is scored.
"""

from nocturne.quality.evaluate import Asked, evaluate
from nocturne.quality.footers import failed_for_certain
from nocturne.quality.helper import Helper
from nocturne.quality.measuring import measures_of
from nocturne.quality.reads import check_columns, columns
from nocturne.quality.suites import Suite, load_suite

__all__ = [
    "Asked",
    "Helper",
    "Suite",
    "check_columns",
    "columns",
    "evaluate",
    "failed_for_certain",
    "load_suite",
    "measures_of",
]
