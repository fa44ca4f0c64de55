"""A night without a single score because of its model, told from a night of bad rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from nocturne.records.result import RAISED, SplitResult, strange_output

__all__ = ["model_at_fault"]


def model_at_fault(results: Sequence[SplitResult]) -> str:
    """Why it is the model, in words, and what to do; "" if it is not.

    It is, however few rows there are, where no row has a score and on most of them the model
    raised, or returned another type than its trial fixed (a row may have a null key besides). Rows
    that are all bad by their data are a night to look at.
    """
    rows = sum(r.rows_in for r in results)
    why: Counter[str] = Counter()
    for result in results:
        why.update(result.by_model)
    if not why or any(r.rows_out for r in results) or 2 * why.total() < rows:
        return ""
    raised = {r.removeprefix(RAISED): n for r, n in why.items() if r.startswith(RAISED)}
    strange = {r: n for r, n in why.items() if strange_output(r) is not None}
    said, remedies = [], []
    if raised:
        said.append(f"the model raised on {sum(raised.values())} of them: {_most(raised)}")
        remedies.append(
            "The model is at fault, or what is installed for it, not the rows, so there is nothing "
            "to approve. Correct that"
        )
    if strange:
        said.append(
            f"on {sum(strange.values())} of them it returned another type or length than was fixed "
            f"when it was tried, or said in model.outputs: {_most(strange)}"
        )
        remedies.append(_wider(strange))
    return (
        f"not one of {rows} rows has a score, as {', and '.join(said)}. {'. '.join(remedies)}, "
        "then score the partition again"
    )


def _most(reasons: Mapping[str, int]) -> str:
    shown = Counter(reasons).most_common(3)
    return "; ".join(f"{reason} ({count} rows)" for reason, count in shown)


def _wider(strange: Mapping[str, int]) -> str:
    """What to do about predictions that their columns can't hold."""
    wider = {}
    for output, type_, length in filter(None, map(strange_output, strange)):
        wider[output] = ("double" if type_ in ("int64", "bool", "float32") else "string") + length
    said = ", ".join(f"{output}: {type_}" for output, type_ in wider.items())
    return (
        f"There is nothing to approve: say in model.outputs what it returns, with a wider type "
        f"(e.g. {{{said}}}), or have the model return one type and length"
    )
