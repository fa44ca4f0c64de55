"""Shares of keys: the hashes of the Iceberg specification, and who belongs where for ever."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyiceberg import types as iceberg
from pyiceberg.transforms import BucketTransform
from scipy import stats

from nocturne.columns.shares import SPACE, can_share, share_hashes, up_to

UTC = dt.UTC
NAMES = ("UA", "AA", "B6", "DL", "EV", "MQ", "US", "WN", "VX", "FL")


def hashes(values: list[Any], type_: pa.DataType | None = None, salt: str = "") -> list[int]:
    return share_hashes([pa.array(values, type_)], salt).view(np.int32).tolist()


def hash_of_double(value: float) -> int:
    """Of its bits, as the specification has it for a float that is no integer."""
    bits = int(np.float64(value).view(np.int64))
    return hashes([bits], pa.int64())[0]


@pytest.mark.parametrize(
    ("value", "type_", "expected"),
    [
        (34, pa.int32(), 2017239379),
        (34, pa.int64(), 2017239379),
        (34, pa.uint8(), 2017239379),
        (Decimal("14.20"), pa.decimal128(9, 2), -500754589),
        (Decimal("14.20"), pa.decimal256(40, 2), -500754589),
        (dt.date(2017, 11, 16), pa.date32(), -653330422),
        (dt.date(2017, 11, 16), pa.date64(), -653330422),
        (dt.time(22, 31, 8), pa.time64("us"), -662762989),
        (dt.time(22, 31, 8), pa.time32("s"), -662762989),
        (dt.datetime(2017, 11, 16, 22, 31, 8), pa.timestamp("us"), -2047944441),
        (dt.datetime(2017, 11, 16, 22, 31, 8), pa.timestamp("ns"), -2047944441),
        (dt.datetime(2017, 11, 16, 22, 31, 8, tzinfo=UTC), pa.timestamp("s", "UTC"), -2047944441),
        ("iceberg", pa.string(), 1210000089),
        ("iceberg", pa.large_string(), 1210000089),
        (uuid.UUID("f79c3e09-677c-4bbd-a479-3f349cb785e7").bytes, pa.binary(16), 1488055340),
        (b"\x00\x01\x02\x03", pa.binary(), -188683207),
        (True, pa.bool_(), 1392991556),
        (1.5, pa.float32(), hash_of_double(1.5)),
        (1.5, pa.float64(), hash_of_double(1.5)),
    ],
)
def test_a_hash_is_that_of_the_iceberg_specification(
    value: Any, type_: pa.DataType, expected: int
) -> None:
    """The values of its appendix B."""
    assert hashes([value], type_) == [expected]


def test_a_hash_is_that_of_pyiceberg() -> None:
    random = np.random.default_rng(3)
    numbers = random.integers(-(2**62), 2**62, 300).tolist()
    words = ["".join(map(chr, random.integers(32, 1200, size))) for size in range(200)]
    moments = [dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=n // 10**4) for n in numbers]
    cents = [Decimal(n).scaleb(-4) for n in numbers] + [Decimal(n) for n in range(-300, 300)]
    cases: list[tuple[list[Any], pa.DataType, iceberg.IcebergType]] = [
        (numbers, pa.int64(), iceberg.LongType()),
        (words, pa.string(), iceberg.StringType()),
        ([word.encode() for word in words], pa.binary(), iceberg.BinaryType()),
        (moments, pa.timestamp("us"), iceberg.TimestampType()),
        ([moment.date() for moment in moments], pa.date32(), iceberg.DateType()),
    ]
    for values, type_, kind in cases:
        theirs = BucketTransform(1 << 31).transform(kind)
        ours = [h & 0x7FFFFFFF for h in hashes(values, type_)]
        stored = pa.array(values, type_)
        if pa.types.is_temporal(type_):
            width = pa.int32() if type_.bit_width == 32 else pa.int64()
            values = stored.cast(width).to_pylist()
        assert ours == [theirs(value) for value in values], kind
    for value in cents:
        scale = max(0, -int(value.as_tuple().exponent))
        kind = iceberg.DecimalType(38, scale)
        [ours] = hashes([value], pa.decimal128(38, scale))
        assert ours & 0x7FFFFFFF == BucketTransform(1 << 31).transform(kind)(value)


def test_ten_keys_are_in_the_same_share_for_ever() -> None:
    """Changing this changes which model scores whose rows, from one night to the next."""
    found = share_hashes([pa.array(NAMES)])
    assert dict(zip(NAMES, np.floor(found / SPACE * 10_000).tolist(), strict=True)) == PINNED
    salted = share_hashes([pa.array(NAMES)], "spring")
    assert np.floor(salted / SPACE * 10_000).tolist() == SALTED
    pairs = share_hashes([pa.array(NAMES), pa.array(range(10))])
    assert np.floor(pairs / SPACE * 10_000).tolist() == PAIRS


PINNED = {
    "UA": 2002,
    "AA": 2496,
    "B6": 5228,
    "DL": 1916,
    "EV": 1743,
    "MQ": 8772,
    "US": 8534,
    "WN": 5615,
    "VX": 1741,
    "FL": 1921,
}
SALTED = [9033, 9213, 8494, 3631, 4513, 3321, 3706, 7513, 2169, 517]
PAIRS = [700, 5742, 2505, 1983, 3564, 8878, 2923, 557, 4942, 5915]


@pytest.mark.parametrize("percent", [0.5, 5, 20, 50, 99])
@pytest.mark.parametrize("salt", ["", "spring"])
def test_shares_lie_within_what_chance_allows(percent: float, salt: str) -> None:
    keys = {
        "numbers in a row": pa.array(range(50_000)),
        "words": pa.array([f"customer-{n:06d}" for n in range(50_000)]),
        "times": pa.array(range(50_000), pa.timestamp("s")),
        "halves": pa.array(np.arange(50_000) / 2),
    }
    low, high = stats.binom.interval(0.999, 50_000, percent / 100)
    for name, column in keys.items():
        count = int((share_hashes([column], salt) < up_to(percent)).sum())
        assert low <= count <= high, name


def test_a_key_has_one_hash_however_it_is_stored() -> None:
    random = np.random.default_rng(5)
    words = pa.array([f"w{n}" if n % 7 else None for n in random.integers(0, 40, 1000)])
    whole = share_hashes([words])
    there = words.is_valid().to_numpy(zero_copy_only=False)
    for stored in (
        words.dictionary_encode(),
        words.cast(pa.large_string()),
        pa.concat_arrays([words, words]).slice(1000),
        pa.concat_arrays([words, words]).slice(1000).dictionary_encode(),
    ):
        assert (share_hashes([stored])[there] == whole[there]).all()
    with_salt = share_hashes([words], "s")
    assert (share_hashes([words.dictionary_encode()], "s")[there] == with_salt[there]).all()
    pieces = [share_hashes([words.slice(start, 10)]) for start in range(0, 1000, 10)]
    assert (np.concatenate(pieces)[there] == whole[there]).all()
    numbers = pa.array(random.integers(0, 100, 500))
    for type_ in (pa.int8(), pa.uint16(), pa.int32(), pa.uint64(), pa.float32(), pa.float64()):
        assert (share_hashes([numbers.cast(type_)]) == share_hashes([numbers])).all()
    large = pa.array([2.0**63, -(2.0**63), 1e300, float("inf")])
    assert len({*share_hashes([large]).tolist()}) == 4
    assert hashes([0.0], pa.float64()) == hashes([-0.0], pa.float64())
    assert hashes([float("nan")], pa.float64()) == hashes([float("nan")], pa.float32())
    assert len(share_hashes([pa.array([], pa.string())])) == 0
    assert len(share_hashes([pa.array([], pa.string()).dictionary_encode()])) == 0
    before = [dt.datetime(1969, 12, 31, 23, 59, 59, 1)]
    assert hashes(before, pa.timestamp("ns")) == hashes(before, pa.timestamp("us"))


def test_what_has_no_bytes_of_its_own_has_no_share() -> None:
    assert can_share(pa.dictionary(pa.int32(), pa.string()))
    assert not can_share(pa.list_(pa.int64()))
    assert not can_share(pa.struct([("a", pa.int64())]))
    assert not can_share(pa.null())
    assert not can_share(pa.decimal32(5, 2))
