"""Makes the table of types and roles in docs/pipeline.md from ``nocturne.fitting.roles``.

``python -m nocturne.fitting.role_table docs/pipeline.md`` updates the page; a test checks that it
is up to date.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from nocturne.columns.normal import ParquetOnly
from nocturne.columns.values import BOOLEANS, NUMBERS, TEXT, TIMES, kind
from nocturne.encoding import Feature, TensorSpec
from nocturne.fitting.roles import TARGETS, feature_cast, publishing

__all__ = ["role_table", "with_table"]

_START, _END = "<!-- types and roles: start -->\n", "<!-- types and roles: end -->\n"

_TYPES: dict[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "int8 to int64, uint8 to uint32": pa.int64(),
    "uint64": pa.uint64(),
    "float16, float32, float64": pa.float16(),
    "decimal": pa.decimal128(18, 2),
    "string (large, view, dictionary, JSON)": pa.string_view(),
    "binary (large, view)": pa.binary_view(),
    "binary of a fixed size": pa.binary(2),
    "UUID": pa.uuid(),
    "date": pa.date32(),
    "timestamp without zone (INT96 too), or in UTC": pa.timestamp("us"),
    "timestamp in another zone": pa.timestamp("us", "Europe/Berlin"),
    "time": pa.time64("us"),
    "duration": pa.duration("us"),
    "list of integers (int8 to int64, uint8 to uint32)": pa.list_view(pa.int64()),
    "list of other numbers": pa.list_view(pa.float32()),
    "struct, map, other lists": pa.struct([("a", pa.int64())]),
    "no type (all null)": pa.null(),
    "ENUM, BSON, INTERVAL, VARIANT, GEOMETRY, GEOGRAPHY": ParquetOnly(
        pa.struct([("a", pa.binary())]), "VARIANT"
    ),
}


def _feature(encoder: Any, dtype: Any, **values: Any) -> Callable[[pa.DataType], str]:
    part = TensorSpec("t", dtype, encoder, ()), Feature("x", **values)

    def describe(type_: pa.DataType) -> str:
        fit = feature_cast([part], type_)
        if not isinstance(fit, str):
            return "yes"
        remedy = re.search(r"\{x: (\w+)\}", fit)
        if remedy is None and "input.cast_text" not in fit:
            return "no"
        targets = ["local", "utc"] if "local" in fit else [remedy[1] if remedy else ""]
        return " or ".join(f"`cast: {target}`" for target in targets) if remedy else "`cast_text`"

    return describe


def _published(type_: pa.DataType) -> str:
    return "no" if publishing(type_) else "yes"


def _unique(type_: pa.DataType) -> str:
    return "no" if publishing(type_, unique=True) else "yes"


def _expected(type_: pa.DataType) -> str:
    return "yes" if kind(type_) in (BOOLEANS, NUMBERS, TEXT, TIMES) else "nulls"


_CLOCKS = {
    "local": "there",
    "utc": "in UTC",
    "Europe/Berlin": "in Berlin",
}

_ROLES: dict[str, Callable[[pa.DataType], str]] = {
    "number": _feature("numeric", "float32"),
    "integer": _feature("numeric", "int64"),
    "words, segment": _feature("category", "int64", vocabulary=("a",)),
    "codes": _feature("category", "int64", vocabulary=(1,)),
    "list": _feature("list", "float32", length=2),
    "integer list": _feature("list", "int64", length=2),
    "`long`": _feature("frame", "frame", type="long"),
    "`double`": _feature("frame", "frame", type="double"),
    "`string`": _feature("frame", "frame", type="string"),
    "`boolean`": _feature("frame", "frame", type="boolean"),
    "`binary`": _feature("frame", "frame", type="binary"),
    "`datetime`": _feature("frame", "frame", type="datetime"),
    "passthrough, key": _published,
    "unique key": _unique,
    "expectation": _expected,
}


def role_table() -> str:
    """Markdown: a table with a row for each type and a column for each role, and ``input.cast``."""
    types = [[name, *(role(type_) for role in _ROLES.values())] for name, type_ in _TYPES.items()]
    casts = [[f"`{name}`", target.description] for name, target in TARGETS.items()]
    clocks = f"a time with a zone, as the clock shows it: {', '.join(_CLOCKS.values())}"
    casts.append([", ".join(f"`{name}`" for name in _CLOCKS), clocks])
    return _rows(["type", *_ROLES], types) + "\n" + _rows(["`input.cast`", "the model sees"], casts)


def _rows(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in lines)


def with_table(text: str) -> str:
    """The page with the current table between its two marks."""
    before, following = text.split(_START)
    _, after = following.split(_END)
    return f"{before}{_START}{role_table()}{_END}{after}"


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(with_table(page.read_text(encoding="utf-8")), encoding="utf-8")
