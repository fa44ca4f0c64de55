"""The order of the tests names files that are there."""

from __future__ import annotations

from pathlib import Path

import order

ROOT = Path(__file__).parents[1]


def test_what_is_named_is_there() -> None:
    named = {*(file for files in order.SHARED.values() for file in files), *order.LONGEST}
    assert not [name for name in named - order.SHARED.keys() if not (ROOT / name).exists()]


def test_files_that_share_a_server_are_one_group() -> None:
    assert order.group("tests/e2e/test_gate.py") == order.group("tests/e2e/test_page.py")
    assert order.group("tests/test_order.py") != order.group("tests/test_hiding.py")


def test_the_longest_come_first() -> None:
    files = ["tests/test_order.py", "tests/chaos/test_failpoints.py", "tests/e2e/test_gate.py"]
    assert sorted(files, key=order.place) == files[::-1]
