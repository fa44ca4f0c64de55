"""Truth by a metric that a team writes in Spark SQL."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from nocturne import config
from pipeline.test_challengers import Project, night
from pipeline.test_truth import judged, labels, refused, with_labels, write_labels
from pipeline.test_truth_parts import frame_of


@pytest.mark.usefixtures("_spark")
def test_a_metric_of_the_teams_own_is_spark_sql_over_joined_rows(project: Project) -> None:
    random = np.random.default_rng(5)
    loaded = with_labels(
        project,
        output__passthrough=["word"],
        labels__segments=["word"],
        labels__metrics={
            "cost": "sum(IF(late AND score < 0.5, 5, IF(NOT late AND score >= 0.5, price, 0)))"
        },
        labels__bounds={"cost": {"max": 1.0}},
        spark__master="local[1]",
    )
    night(loaded)
    late = random.random(600) < 0.4
    price = random.random(600)
    write_labels(loaded, labels(range(600), late).append_column("price", pa.array(price)))
    truth, frame = judged(loaded), frame_of(loaded, late)
    frame["price"] = price
    wrong = np.where(
        frame.late & (frame.score < 0.5),
        5,
        np.where(~frame.late & (frame.score >= 0.5), frame.price, 0),
    )
    assert truth.parts["all"].figures["cost"] == pytest.approx(wrong.sum())
    assert truth.parts["version 1"].figures["cost"] == pytest.approx(wrong.sum())
    in_a = (frame.word == "a").to_numpy()
    assert truth.parts["word=a"].figures["cost"] == pytest.approx(wrong[in_a].sum())
    [beyond] = truth.beyond
    assert beyond.startswith("cost is ")
    path = loaded.home / "conf" / "pipelines" / "p.yaml"
    path.write_text(path.read_text().replace("sum(IF(", "sum(nothing + IF("))
    loaded = config.load("p")
    assert "labels.metrics: Spark does not take cost" in refused(loaded)
