"""Truth whose labels, scores and state are in an object store, or whose labels are a lake table."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forked import in_child
from formats import CATALOG, catalog_in
from nocturne import config
from nocturne.operate.decisions import roll_back
from nocturne.operate.truth.due import due_nights
from nocturne.operate.truth.nights import NightTruth
from nocturne.records.truth import Truth
from object_store import Bucket
from pipeline.conftest import night_of
from pipeline.test_challengers import DAY, FIXED, Project
from pipeline.test_truth import labels
from pipeline.test_truth_due import count, nights_of, truth_runs
from store_fixtures import bucket as bucket
from store_fixtures import store_endpoint as store_endpoint

RANDOM = np.random.default_rng(6)
LATE = RANDOM.random(600) < 0.4


def counted(loaded: config.Loaded) -> NightTruth:
    [found] = count(loaded, nights_of(loaded, (DAY,)))
    return found


def share(found: NightTruth) -> float:
    """The share of positive labels."""
    assert found.truth is not None, found.problem
    return found.truth.parts["all"].figures["positive"]


def upload(bucket: Bucket, table: pa.Table, key: str = f"labels/ds={DAY}/part-0.parquet") -> None:
    written = io.BytesIO()
    pq.write_table(table, written)
    bucket.put(key, written.getvalue())


@pytest.mark.long
def test_labels_scores_and_state_in_a_store(project: Project, bucket: Bucket) -> None:
    loaded = project(
        **FIXED,
        output__path=bucket.uri("out/scores"),
        output__format="delta",
        labels__path=bucket.uri("labels"),
        labels__column="late",
    )

    def first() -> tuple[list[Any], float, list[Any], int]:
        night_of(loaded, DAY)
        assert due_nights(loaded) == []
        upload(bucket, labels(range(600), LATE))
        due = due_nights(loaded)
        found = counted(loaded)
        return due, share(found), due_nights(loaded), len(truth_runs(loaded))

    due, positive, left, runs = in_child(first)
    assert [night.key for night in due] == [DAY]
    assert positive == pytest.approx(LATE.mean())
    assert (left, runs) == ([], 1)

    def corrected() -> tuple[int, float]:
        upload(bucket, labels(range(600), ~LATE))
        found = counted(loaded)
        assert found.truth is not None
        return found.truth.number, share(found)

    assert in_child(corrected) == (2, pytest.approx(1 - LATE.mean()))

    def scored_again_and_rolled_back() -> tuple[Truth | None, Truth | None]:
        before = counted(loaded).truth
        night_of(loaded, DAY, force=True)
        assert counted(loaded).new
        roll_back(loaded, nights_of(loaded, (DAY,))[0], None, by="ada")
        return before, counted(loaded).truth

    before, after = in_child(scored_again_and_rolled_back)
    assert after == before

    def refused_or_away(**fault: Any) -> NightTruth:
        bucket.fail(method="GET", query="prefix=labels", **fault)
        return counted(loaded)

    refused = in_child(lambda: refused_or_away(status=403, code="AccessDenied"))
    assert "AccessDenied" in refused.problem
    assert not refused.retry
    away = in_child(lambda: refused_or_away(status=500, code="InternalError"))
    assert away.retry
    assert "did not answer" in away.problem


@pytest.mark.long
@pytest.mark.parametrize("format_", ["delta", "iceberg"])
def test_labels_of_a_lake_table_are_those_of_its_last_version(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_: str
) -> None:
    monkeypatch.setenv(CATALOG, catalog_in(tmp_path))
    given = {"labels__format": format_, "labels__path": "lake/labels", "labels__column": "late"}
    if format_ == "iceberg":
        given["labels__table"] = "test.raw.labels"
    loaded = project(**FIXED, **given)

    def rows(late: Any, day: str = DAY) -> pa.Table:
        return pa.table({"ds": [day] * len(late), "id": np.arange(len(late)), "late": late})

    def write(table: pa.Table) -> None:
        place = tmp_path / "lake" / "labels"
        if format_ == "delta":
            from deltalake import write_deltalake

            there = place.exists()
            only = {"mode": "overwrite", "predicate": f"ds = '{DAY}'"} if there else {}
            place.mkdir(parents=True, exist_ok=True)
            write_deltalake(str(place), table, partition_by=["ds"], **only)
            return
        from pyiceberg.catalog import load_catalog

        catalog = load_catalog("test")
        if not catalog.namespace_exists("raw"):
            catalog.create_namespace("raw")
            made = catalog.create_table("raw.labels", table.schema, location=f"file://{place}")
            with made.update_spec() as spec:
                spec.add_identity("ds")
        catalog.load_table("raw.labels").overwrite(table, overwrite_filter=f"ds == '{DAY}'")

    night_of(loaded, DAY)
    assert in_child(lambda: due_nights(loaded)) == []
    in_child(lambda: write(rows(LATE)))
    assert in_child(lambda: [night.key for night in due_nights(loaded)]) == [DAY]
    first = in_child(lambda: counted(loaded))
    assert share(first) == pytest.approx(LATE.mean())
    assert in_child(lambda: due_nights(loaded)) == []
    in_child(lambda: write(rows(~LATE)))  # the files of before are still in the folder
    second = in_child(lambda: counted(loaded))
    assert second.truth is not None
    assert (second.truth.number, share(second)) == (2, pytest.approx(1 - LATE.mean()))
