"""A night without a single score because of its model, told from a night of bad rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from nocturne.records import RAISED, SplitResult

__all__ = ["model_at_fault"]


def model_at_fault(results: Sequence[SplitResult]) -> str:
    """Why it is the model, in words, and what to do; "" if it is not.

    It is, however few rows there are, where no row has a score and the model raised on most of
    them (a row may have a null key besides). Rows that are all bad by their data are a night to
    look at.
    """
    rows, raised = sum(r.rows_in for r in results), sum(r.raised for r in results)
    if not raised or any(r.rows_out for r in results) or 2 * raised < rows:
        return ""
    why: Counter[str] = Counter()
    for result in results:
        why.update({r.removeprefix(RAISED): n for r, n in result.reasons.items()
                    if r.startswith(RAISED)})  # fmt: skip
    shown = "; ".join(f"{reason} ({count} rows)" for reason, count in why.most_common(3))
    return (
        f"not one of {rows} rows has a score, as the model raised on {raised} of them: {shown}. "
        "The model is at fault, or what is installed for it, not the rows, so there is nothing to "
        "approve. Correct that, then score the partition again"
    )
