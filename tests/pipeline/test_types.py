"""A night whose files have types of their own is planned, scored, judged and published as any."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from nocturne import config
from nocturne.errors import InputError
from nocturne.pipeline.judging import judge
from pipeline.conftest import DAYS, night_of, scored

DAY = DAYS[1]


def _odd(path: Path) -> pa.Table:
    """The day's file with a UUID for a key, decimals for numbers, and a view of its words."""
    table = pq.read_table(path, partitioning=None)
    ids = [uuid.UUID(int=1 + number).bytes for number in range(table.num_rows)]
    key = pa.ExtensionArray.from_storage(pa.uuid(), pa.array(ids, pa.binary(16)))
    odd = pa.table(
        {
            "id": key,
            "x": pc.round(table["x"], 6).cast(pa.decimal128(18, 6)),
            "y": table["y"],
            "word": table["word"].cast(pa.string_view()),
        }
    )
    pq.write_table(odd, path)
    return odd


def test_a_night_of_odd_types_is_published_once_its_casts_are_said(
    project: Callable[..., config.Loaded], tmp_path: Path
) -> None:
    loaded = project(quality__unique_keys=True, quality__max_quarantined=0.1)
    folder = tmp_path / "data" / f"ds={DAY}"
    odd = _odd(folder / "part-0.parquet")
    late = odd.slice(0, 20)
    for name in ("x", "word"):
        at = late.schema.get_field_index(name)
        late = late.set_column(at, name, pa.nulls(20))
    ids = [uuid.UUID(int=5000 + number).bytes for number in range(19)]
    key = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([*ids, None], pa.binary(16)))
    pq.write_table(late.set_column(0, "id", key), folder / "part-1.parquet")
    with pytest.raises(
        InputError, match=r"'x' is decimal128\(18, 6\), .*input.cast: \{x: double\}"
    ):
        night_of(loaded, DAY)

    told = config.load("p", overrides={"input.cast": {"x": "double"}})
    manifest = night_of(told, DAY)

    assert manifest.rows_in == 620
    published = pq.read_table(tmp_path / "out" / "scores" / f"ds={DAY}", partitioning=None)
    assert published.num_rows == 619
    assert published.schema.field("id").type == pa.uuid()
    assert published.schema.field("word").type == pa.string()
    assert published["word"].null_count == odd["word"].null_count + 19
    pq.write_table(odd.slice(0, 1), folder / "part-2.parquet")
    judgement = judge(scored(told, DAY))
    assert judgement.verdict == "hold"
    assert f"id={uuid.UUID(int=1)} (2 times)" in " ".join(judgement.reasons)
