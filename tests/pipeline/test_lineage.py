"""OpenLineage's facets of a real night, as they leave for a lineage server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openlineage.client.serde import Serde

from nocturne.config import Loaded
from nocturne.pipeline.places import Places
from nocturne.records import Manifest
from nocturne_airflow.lineage import lineage
from pipeline.conftest import DAYS, night_of


def of(loaded: Loaded, made: Manifest) -> dict[str, Any]:
    """The lineage of a manifest as JSON."""
    state = Places.of(loaded).state.partition(made.partition)
    found = lineage(state.manifest_file(made.id))
    said = json.loads(Serde.to_json(found))
    return dict(said)


def test_a_night_is_an_edge_between_two_tables(project: Callable[..., Loaded]) -> None:
    loaded = project()
    made = night_of(loaded, DAYS[0])
    said = of(loaded, made)
    [given], [scores] = said["inputs"], said["outputs"]
    assert given["name"] == str(loaded.home / "data")
    assert scores["name"] == str(loaded.home / "out/scores")
    columns = given["inputFacets"]["dataQualityMetrics"]["columnMetrics"]
    assert set(columns) == {"x", "y", "word"}
    assert columns["y"]["min"] < 0 < columns["y"]["max"]
    assert [f["name"] for f in scores["facets"]["schema"]["fields"]] == [
        "id",
        "word",
        "score",
        "model_version",
    ]
    facts = said["run_facets"]["nocturne"]
    assert (facts["model"], facts["modelVersion"]) == ("small", 1)
    assert Path(facts["manifest"]).is_file()
    assert facts["manifestId"] == made.id


def test_sensitive_columns_show_counts_only(project: Callable[..., Loaded]) -> None:
    loaded = project(quality__sensitive=["y"])
    columns = of(loaded, night_of(loaded, DAYS[0]))["inputs"][0]["inputFacets"][
        "dataQualityMetrics"
    ]["columnMetrics"]
    assert columns["y"]["count"] == 600
    assert columns["y"].get("max") is None
    assert columns["x"]["max"] is not None
