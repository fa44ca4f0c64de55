"""Seconds add up by name, also when what is timed fails."""

from __future__ import annotations

import pytest

from nocturne.stopwatch import Stopwatch


def test_seconds_of_one_name_add_up_in_the_order_of_the_names() -> None:
    watch = Stopwatch()
    watch.add("score", 1.5)
    watch.add("check", 0.25)
    watch.add("score", 0.5)
    assert watch.rounded() == {"score": 2.0, "check": 0.25}


def test_what_fails_is_timed_too() -> None:
    watch = Stopwatch()
    with pytest.raises(ValueError, match="wrong"), watch("check"):
        raise ValueError("wrong")
    assert watch.seconds["check"] >= 0
