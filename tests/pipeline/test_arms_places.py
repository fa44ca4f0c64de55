"""Challengers and a canary whose tables and state are in an object store, or are lake tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forked import in_child
from formats import CATALOG, OUTPUT, catalog_in
from nocturne import config
from nocturne.objects.reading import native
from nocturne.operate.challengers import compared
from nocturne.operate.decisions import roll_back
from nocturne.operate.gc import collect
from nocturne.operate.verify import verify_partition
from nocturne.pipeline.places import Places
from nocturne.records.comparison import Comparison
from nocturne.table import published_manifest
from object_store import Bucket
from pipeline.conftest import make_project
from pipeline.test_arms import canary, in_share, register, sharing
from pipeline.test_challengers import DAY, FIXED, challenged, night, with_bad_rows
from store_fixtures import bucket as bucket
from store_fixtures import store_endpoint as store_endpoint

BAD = [3, 300]
"""The rows without a key, which the champion quarantines."""


class Scored(NamedTuple):
    champion: pa.Table
    challenger: pa.Table
    comparison: Comparison


def rows_of(loaded: config.Loaded) -> pa.Table:
    """What is in force of the day, by id, once it is verified by scoring it again."""
    partition = config.partition(loaded.pipeline.input.partition, DAY)
    verified = verify_partition(loaded, partition, replay=None)
    assert verified.ok, verified
    assert {replay.outcome for replay in verified.replayed} == {"bit-equal"}
    output = Places.of(loaded).output(partition)
    manifest = published_manifest(output)
    assert manifest is not None
    files = [pq.ParquetFile(native(output.file(f.path))).read() for f in manifest.outputs]
    rows = pa.concat_tables(files).sort_by("id")
    return rows.select([name for name in rows.column_names if name != "ds"])  # Iceberg's have it


def scored(loaded: config.Loaded, percent: float) -> Scored:
    """The day, with a challenger and a canary of the same model."""
    challenged(loaded, {"alias": "challenger"})
    loaded = sharing(loaded, canary=canary(percent))
    night(loaded, force=True)
    [found] = compared(loaded, [config.partition(loaded.pipeline.input.partition, DAY)])
    assert found.comparison is not None
    comparison = replace(found.comparison, champion_s=0.0, challenger_s=0.0)
    return Scored(rows_of(loaded), rows_of(config.load("p@challenger")), comparison)


@pytest.mark.long
@pytest.mark.parametrize("format_", [name for name in OUTPUT if name != "parquet"])
def test_arms_do_the_same_wherever_their_tables_are(
    registry: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    format_: str,
) -> None:
    monkeypatch.setenv(CATALOG, catalog_in(tmp_path))
    output = {f"output__{name}": value for name, value in OUTPUT[format_].items()}
    if "on s3" in format_:
        bucket: Bucket = request.getfixturevalue("bucket")
        output["output__path"] = bucket.uri("out/scores")

    def made(place: str, **settings: str) -> config.Loaded:
        (tmp_path / place).mkdir()
        loaded = make_project(
            tmp_path / place, registry, monkeypatch, **FIXED, **settings, quality__max_quarantined=1
        )
        with_bad_rows(loaded, BAD)
        register(loaded)
        return loaded

    here = made("here")
    expected = in_child(lambda: [scored(here, percent) for percent in (20, 50)])
    there = made("there", **output)

    def all_of_it() -> tuple[list[Scored], pa.Table, int]:
        found = [scored(there, percent) for percent in (20, 50)]
        loaded = config.load("p")
        roll_back(loaded, config.partition(loaded.pipeline.input.partition, DAY), None, by="ada")
        collect(loaded, 0, remove=True)
        return found, rows_of(loaded), len(rows_of(config.load("p@challenger")))

    found, rolled_back, beside = in_child(all_of_it)
    ids = [i for i in range(600) if i not in BAD]
    for percent, one, other in zip((20, 50), found, expected, strict=True):
        assert one == other
        versions = [2 if share else 1 for share in in_share(ids, percent)]
        assert one.champion["model_version"].to_pylist() == versions
    assert rolled_back == found[0].champion
    assert beside == len(ids)
