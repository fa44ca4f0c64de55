"""What the messages of all rooms share."""

from __future__ import annotations

import pytest

from nocturne.errors import did_you_mean


@pytest.mark.parametrize(
    ("name", "most", "said"),
    [
        ("micro_bach", 1, " (did you mean 'micro_batch'?)"),
        ("batch", 2, " (did you mean 'batches' or 'micro_batch'?)"),
        ("zzz", 1, ""),
        (7, 1, ""),
    ],
)
def test_an_unknown_name_is_followed_by_the_nearest_known_ones(
    name: object, most: int, said: str
) -> None:
    assert did_you_mean(name, ["micro_batch", "batches", "threads"], most) == said
