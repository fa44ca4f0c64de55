"""The quality room: standard Great Expectations suites, checked early and evaluated once.

``measures_of`` says what must be counted in a table for a suite. ``evaluate`` lets Great
Expectations evaluate the suite from these counts, or from the files if the pipeline asks for it.

``load_suite``, ``columns`` and ``check_columns`` import neither Great Expectations nor
pandas, so that a wrong suite is refused in a moment and before anything is scored.
"""

from nocturne.quality.evaluate import SuiteRequest, evaluate
from nocturne.quality.footers import failed_for_certain
from nocturne.quality.helper import Helper
from nocturne.quality.measuring import measures_of
from nocturne.quality.reads import check_columns, columns
from nocturne.quality.suites import Suite, load_suite

__all__ = [
    "Helper",
    "Suite",
    "SuiteRequest",
    "check_columns",
    "columns",
    "evaluate",
    "failed_for_certain",
    "load_suite",
    "measures_of",
]
