"""Tells a night that has no score because of its model from a night of bad rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from nocturne.records.result import RAISED, SplitResult, strange_output

__all__ = ["model_at_fault"]


def model_at_fault(results: Sequence[SplitResult]) -> str:
    """Why the model is at fault, and what to do; "" if it is not.

    The model is at fault if no row has a score, and on most rows it raised or returned another type
    than its trial fixed (some rows may have a null key instead), however few rows there are. If all
    rows are bad because of their data, a person must look at the night.
    """
    rows = sum(r.rows_in for r in results)
    reasons: Counter[str] = Counter()
    for result in results:
        reasons.update(result.by_model)
    if not reasons or any(r.rows_out for r in results) or 2 * reasons.total() < rows:
        return ""
    raised = {r.removeprefix(RAISED): n for r, n in reasons.items() if r.startswith(RAISED)}
    unexpected = {r: n for r, n in reasons.items() if strange_output(r) is not None}
    causes, remedies = [], []
    if raised:
        count = sum(raised.values())
        causes.append(f"the model raised on {count} of them: {_most_frequent(raised)}")
        remedies.append(
            "The model is at fault, or what is installed for it, not the rows, so there is nothing "
            "to approve. Correct that"
        )
    if unexpected:
        causes.append(
            f"on {sum(unexpected.values())} of them it returned another type or length than its "
            f"trial fixed or model.outputs declares: {_most_frequent(unexpected)}"
        )
        remedies.append(_wider(unexpected))
    return (
        f"not one of {rows} rows has a score, as {', and '.join(causes)}. {'. '.join(remedies)}, "
        "then score the partition again"
    )


def _most_frequent(reasons: Mapping[str, int]) -> str:
    shown = Counter(reasons).most_common(3)
    return "; ".join(f"{reason} ({count} rows)" for reason, count in shown)


def _wider(reasons: Mapping[str, int]) -> str:
    """The remedy for predictions that their columns can't hold."""
    wider = {}
    for output, type_, length in filter(None, map(strange_output, reasons)):
        wider[output] = ("double" if type_ in ("int64", "bool", "float32") else "string") + length
    types = ", ".join(f"{output}: {type_}" for output, type_ in wider.items())
    return (
        f"There is nothing to approve: say in model.outputs what it returns, with a wider type "
        f"(e.g. {{{types}}}), or have the model return one type and length"
    )
