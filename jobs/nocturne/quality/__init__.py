"""The quality room: standard Great Expectations suites, checked early and evaluated once.

``load_suite``, ``columns`` and ``check_columns`` import neither Great Expectations nor
pandas, so that a wrong suite is refused in a moment and before anything is scored.
"""

from nocturne.quality.evaluate import evaluate
from nocturne.quality.helper import Helper
from nocturne.quality.reads import check_columns, columns
from nocturne.quality.suites import Suite, load_suite

__all__ = ["Helper", "Suite", "check_columns", "columns", "evaluate", "load_suite"]
