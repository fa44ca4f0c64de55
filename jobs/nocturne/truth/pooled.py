"""What the nights say together."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nocturne.errors import InputError
from nocturne.records.truth import Difference
from nocturne.truth.rows import finite

__all__ = ["pooled"]


def pooled(nights: Sequence[float]) -> Difference:
    """The mean of nightly differences, with Student's t interval over the nights.

    Nights differ by more than chance within each, so what varies between them decides.

    Returns:
        Without an interval for a single night.

    Raises:
        InputError: there is no night, or one is not finite.
    """
    values = finite("nights", nights)
    if not len(values):
        raise InputError("got no night, expected at least one with a difference")
    mean = float(values.mean())
    if len(values) < 2:
        return Difference(mean, None, None)
    from scipy.special import stdtrit  # scipy takes a while to import

    times = float(stdtrit(len(values) - 1, 0.975))
    error = times * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Difference(mean, mean - error, mean + error)
