"""Whether two calls gave the same outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nocturne.engine.agree import agree

NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ([1.0, 2.0], [1.0, 2.0 + 1e-6], True),
        ([1.0, 2.0], [1.0, 2.001], False),
        ([NAN, 2.0], [NAN, 2.0], True),
        ([NAN, 2.0], [1.0, 2.0], False),
        ([-INFINITE, 2.0], [-INFINITE, 2.0], True),
        ([-INFINITE, 2.0], [-INFINITE, 3.0], False),
        ([INFINITE, 2.0], [-INFINITE, 2.0], False),
        ([INFINITE, 2.0], [9.0, 2.0], False),
        ([NAN, INFINITE], [NAN, INFINITE], True),
        ([1, 2], [1, 3], False),
        ([True, False], [True, False], True),
        ([1.0, 2.0], [1.0], False),
    ],
)
def test_floats_agree_within_a_relative_1e5_and_others_exactly(
    first: Any, second: Any, same: bool
) -> None:
    assert agree([np.array(first)], [np.array(second)]) is same
