"""What tables of events look like: 20 numbers with nulls, text of 10 to 100,000 values, a date.

Of the numbers 5% are null, of the words 2% (not of ``category``), and 1% are in no vocabulary; few
words are frequent, most are rare. An MLP scores the numbers, parts of the date, and embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor, nn

    from nocturne.encoding import Encoding

NUMBERS = tuple(f"f{i:02d}" for i in range(20))
MEANS = tuple(float(i) for i in range(len(NUMBERS)))
DEVIATIONS = tuple(float(i + 1) for i in range(len(NUMBERS)))
SIZES = {
    "category": 10,
    "channel": 100,
    "city": 1000,
    "shop": 10_000,
    "product": 30_000,
    "device": 100_000,
}
"""Column of words -> values in its vocabulary."""
WIDTHS = (4, 8, 16, 16, 16, 16)
"""Of the embeddings."""
WORDS = tuple(SIZES)
COLUMNS = (*NUMBERS, *WORDS, "day")
CENTER, SCALE = 18_262.0, 200.0
"""Of the days since 1970-01-01."""
WEEK_CENTER, WEEK_SCALE = 3.0, 2.0
"""Of the day of the week, Monday 0."""
_SEED = 20_26
_FIRST_DAY, _DAYS = 17_897, 730


@cache
def vocabulary(name: str) -> list[str]:
    """Twelve hexadecimal digits each, like the ids of devices and shops."""
    numbers = np.random.default_rng([_SEED, SIZES[name]]).choice(1 << 47, SIZES[name], False)
    return [f"{number:012x}" for number in numbers]


CATEGORIES = tuple(vocabulary("category"))


def codes(file: int, rows: int) -> np.ndarray:
    random = np.random.default_rng([_SEED, file, 1])
    return (SIZES["category"] * random.random(rows) ** 3).astype(np.uint8)


def table(file: int, rows: int) -> pa.Table:
    random = np.random.default_rng([_SEED, file])
    columns: dict[str, pa.Array] = {"id": pa.array(np.arange(file * rows, (file + 1) * rows))}
    for name, mean, deviation in zip(NUMBERS, MEANS, DEVIATIONS, strict=True):
        values = random.standard_normal(rows, np.float32) * deviation + mean
        columns[name] = pa.array(values.astype(np.float32), mask=random.random(rows) < 0.05)
    for name, size in SIZES.items():
        columns[name] = _words(name, size, file, rows, random)
    days = (_FIRST_DAY + random.integers(0, _DAYS, rows)).astype(np.int32)
    columns["day"] = pa.array(days, mask=random.random(rows) < 0.01).cast(pa.date32())
    return pa.table(columns)


def _words(name: str, size: int, file: int, rows: int, random: np.random.Generator) -> pa.Array:
    if name == "category":
        return _text(pa.array(codes(file, rows), pa.int32()), vocabulary(name))
    new = [f"new-{number:08x}" for number in range(max(1, size // 100))]
    index = (size * random.random(rows) ** 3).astype(np.int32)
    unknown = random.random(rows) < 0.01
    index[unknown] = size + random.integers(0, len(new), unknown.sum())
    return _text(pa.array(index, mask=random.random(rows) < 0.02), [*vocabulary(name), *new])


def _text(index: pa.Array, words: list[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(index, pa.array(words)).cast(pa.string())


def network(hidden: Sequence[int]) -> nn.Module:
    """Embeddings beside the numbers, and an MLP with ReLU and these hidden widths."""
    import torch

    from benchmarks.models import dense

    class Mixed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            pairs = zip(SIZES.values(), WIDTHS, strict=True)
            self.words = torch.nn.ModuleList(torch.nn.Embedding(s + 1, w) for s, w in pairs)
            self.dense = dense(len(NUMBERS) + 2 + sum(WIDTHS), hidden)

        def forward(self, numbers: Tensor, codes: Tensor, dates: Tensor) -> Tensor:
            words = [table(codes[:, place]) for place, table in enumerate(self.words)]
            found: Tensor = self.dense(torch.cat([numbers, dates, *words], dim=1))
            return found

    torch.manual_seed(7)
    return Mixed().eval()


def encoding() -> Encoding:
    from nocturne.encoding import Encoding, Feature, OutputSpec, TensorSpec

    numbers = tuple(
        Feature(name, fill=mean, center=mean, scale=deviation)
        for name, mean, deviation in zip(NUMBERS, MEANS, DEVIATIONS, strict=True)
    )
    words = tuple(
        Feature(name, vocabulary=tuple(vocabulary(name)), unknown=size)
        for name, size in SIZES.items()
    )
    dates = (
        Feature("day", part="days", fill=CENTER, center=CENTER, scale=SCALE),
        Feature("day", part="day_of_week", fill=WEEK_CENTER, center=WEEK_CENTER, scale=WEEK_SCALE),
    )
    tensors = (
        TensorSpec("numbers", "float32", "numeric", numbers),
        TensorSpec("codes", "int64", "category", words),
        TensorSpec("dates", "float32", "date", dates),
    )
    return Encoding(tensors, (OutputSpec("score", post="sigmoid"),))


def examples(rows: int) -> tuple[Tensor, ...]:
    import torch

    return (
        torch.zeros(rows, len(NUMBERS)),
        torch.zeros(rows, len(SIZES), dtype=torch.int64),
        torch.zeros(rows, 2),
    )


@cache
def _values(name: str, type_: Any) -> pa.Array:
    return pa.array(vocabulary(name), type_)


def _index(column: pa.Array, name: str, size: int) -> np.ndarray:
    if pa.types.is_dictionary(column.type):
        known = pc.index_in(column.dictionary, _values(name, column.dictionary.type))
        found = known.take(column.indices)
    else:
        found = pc.index_in(column, _values(name, column.type))
    return np.asarray(found.fill_null(size).to_numpy(zero_copy_only=False))


def encode(columns: Mapping[str, pa.Array]) -> tuple[np.ndarray, ...]:
    rows = len(columns["day"])
    numbers = np.empty((rows, len(NUMBERS)), np.float32)
    for place, (name, mean, scale) in enumerate(zip(NUMBERS, MEANS, DEVIATIONS, strict=True)):
        filled = columns[name].fill_null(mean).to_numpy(zero_copy_only=False)
        numbers[:, place] = (filled - np.float32(mean)) / np.float32(scale)
    words = np.empty((rows, len(SIZES)), np.int64)
    for place, (name, size) in enumerate(SIZES.items()):
        words[:, place] = _index(columns[name], name, size)
    dates = np.empty((rows, 2), np.float32)
    days = columns["day"].cast(pa.int32()).cast(pa.float32()).fill_null(CENTER)
    dates[:, 0] = (days.to_numpy(zero_copy_only=False) - CENTER) / SCALE
    week = pc.day_of_week(columns["day"]).cast(pa.float32()).fill_null(WEEK_CENTER)
    dates[:, 1] = (week.to_numpy(zero_copy_only=False) - WEEK_CENTER) / WEEK_SCALE
    return numbers, words, dates


@cache
def _indexer(name: str) -> Any:
    import pandas as pd

    return pd.Index(vocabulary(name))


def encode_frame(frame: pd.DataFrame) -> tuple[np.ndarray, ...]:
    import pandas as pd

    means, deviations = np.float32(MEANS), np.float32(DEVIATIONS)
    numbers = frame[list(NUMBERS)].to_numpy(np.float32)
    numbers = (np.where(np.isnan(numbers), means, numbers) - means) / deviations
    words = np.empty((len(frame), len(SIZES)), np.int64)
    for place, (name, size) in enumerate(SIZES.items()):
        found = _indexer(name).get_indexer(frame[name])
        words[:, place] = np.where(found < 0, size, found)
    day = pd.to_datetime(frame["day"])
    days = (day - pd.Timestamp(0)).dt.days.fillna(CENTER)
    week = day.dt.dayofweek.fillna(WEEK_CENTER)
    dates = np.empty((len(frame), 2), np.float32)
    dates[:, 0], dates[:, 1] = (days - CENTER) / SCALE, (week - WEEK_CENTER) / WEEK_SCALE
    return np.ascontiguousarray(numbers), words, dates
