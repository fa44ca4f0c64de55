"""How often a pyfunc model is called, and with what: never with more rows than the night has."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nocturne import config
from nocturne.encoding import Encoding, Feature, OutputSpec, TensorSpec
from nocturne.engine import score
from nocturne.errors import ModelError
from nocturne.pipeline import prepare
from nocturne.records.partition import Partition
from nocturne.store.run import Run
from pipeline.conftest import DAYS, scored
from pipeline.pyfuncs import calls, project_of

Project = Callable[..., config.Loaded]
DAY = DAYS[0]
ROWS = 70_000


def _long_night(loaded: config.Loaded) -> Partition:
    """A night for which a search pays."""
    random = np.random.default_rng(3)
    table = {
        "id": np.arange(ROWS),
        "x": random.random(ROWS),
        "y": random.random(ROWS),
        "word": pa.array(["a", "b"] * (ROWS // 2)),
    }
    pq.write_table(pa.table(table), loaded.home / "data" / f"ds={DAY}" / "part-0.parquet")
    return config.partition(loaded.pipeline.input.partition, DAY)


def _tuned(loaded: config.Loaded) -> list[dict[str, object]]:
    state = loaded.home / "out" / "_nocturne" / "scores" / "tuning"
    return [json.loads(path.read_bytes()) for path in state.glob("*.json")]


def test_a_short_night_is_scored_with_its_own_rows_and_no_others(project: Project) -> None:
    loaded = project_of(project, lambda frame: frame.x.fillna(0.0).to_numpy())
    run = scored(loaded, DAY)
    given = [row for call in calls(loaded.home / "calls.log") for row in call]
    assert len(given) == run.plan.rows == 600
    assert len(set(given)) == 600
    assert run.plan.pinned.micro_batch == 1024
    assert _tuned(loaded) == []


def test_a_search_gives_the_model_no_more_rows_than_the_night_has(project: Project) -> None:
    loaded = project_of(project, lambda frame: frame.x.fillna(0.0).to_numpy())
    night = _long_night(loaded)
    run = prepare(loaded, night).run
    assert run is not None
    searched = [len(call) for call in calls(loaded.home / "calls.log")]
    assert 1024 < sum(searched) <= ROWS
    assert max(searched) > 1024
    [found] = _tuned(loaded)
    assert found["found"] is True
    assert f"graph/{run.plan.pinned.micro_batch}" in found["seconds_per_million"]  # type: ignore[operator]
    prepare(loaded, config.partition(loaded.pipeline.input.partition, DAYS[1]))
    assert len(list(calls(loaded.home / "calls.log"))) == len(searched), "searched once"


def test_a_search_ends_in_time_whatever_a_row_takes(project: Project) -> None:
    def slow(frame: pd.DataFrame) -> np.ndarray:
        time.sleep(0.05 * len(frame))
        return frame.x.fillna(0.0).to_numpy()  # type: ignore[no-any-return]

    loaded = project_of(project, slow)
    run = prepare(loaded, _long_night(loaded)).run
    assert run is not None
    assert run.plan.pinned.micro_batch == 1024
    assert sum(len(call) for call in calls(loaded.home / "calls.log")) * 0.05 <= 2
    [found] = _tuned(loaded)
    [(name, seconds)] = found["seconds_per_million"].items()  # type: ignore[attr-defined]
    assert name != "graph/1024"
    assert seconds >= 50_000


def test_a_bad_row_in_the_sample_ends_the_search_and_not_the_night(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    def raising(frame: pd.DataFrame) -> pd.Series:
        if 1500 in frame["id"].tolist():
            raise ValueError(f"no answer for {frame.word.iloc[0]}")
        return frame.x.fillna(0.0)

    loaded = project_of(project, raising)
    run = prepare(loaded, _long_night(loaded)).run
    assert run is not None
    assert run.plan.pinned.micro_batch == 1024
    said = caplog.text
    assert "can't score a sample of this partition: ValueError: its text may hold values" in said
    assert "no answer" not in said


def test_a_costly_model_is_given_each_row_once(project: Project) -> None:
    loaded = project_of(
        project, lambda frame: frame.x.fillna(0.0).to_numpy(), model__calls="costly"
    )
    night = _long_night(loaded)
    assert prepare(loaded, night).action == "score"
    assert list(calls(loaded.home / "calls.log")) == []
    run = scored(loaded, DAYS[1])
    given = list(calls(loaded.home / "calls.log"))
    assert Counter(row for call in given for row in call).most_common(1)[0][1] == 1
    assert sum(map(len, given)) == run.plan.rows == 600
    assert max(map(len, given)) == run.plan.pinned.micro_batch == 16
    by_hand = config.load("p", overrides={"scoring.micro_batch": 64})
    assert scored(by_hand, DAYS[2]).plan.pinned.micro_batch == 64


def test_a_costly_call_that_raises_is_not_made_again(project: Project) -> None:
    def raising(frame: pd.DataFrame) -> pd.Series:
        if 1017 in frame["id"].tolist():
            raise ValueError(f"no answer for {frame['id'].tolist()} and {frame.word.tolist()}")
        return frame.x.fillna(0.0)

    loaded = project_of(project, raising, model__calls="costly")
    run = scored(loaded, DAYS[1])
    given = [row for call in calls(loaded.home / "calls.log") for row in call]
    assert len(given) == len(set(given)) == 600
    [result] = [r for r in _results(run) if r["quarantined"]]
    [(reason, rows)] = result["reasons"].items()  # type: ignore[attr-defined]
    assert rows == 16
    assert reason.startswith("the model raised ValueError: no answer for [<id>] and [")
    assert reason.endswith("]; all rows of that call, as model.calls is costly")


@pytest.mark.parametrize("good", [None, 3])
def test_a_costly_model_that_refuses_everything_is_called_five_times(
    good: int | None,
) -> None:
    """One that has answered once is given all rows, as before."""
    made: list[int] = []

    class Api:
        padded = False

        def predict(self, encoded: list[np.ndarray]) -> list[np.ndarray]:
            made.append(len(encoded[0]))
            if len(made) != good:
                raise ValueError("no such key")
            return [np.zeros(len(encoded[0]))]

    inputs = (TensorSpec("x", "float64", "numeric", (Feature("x"),)),)
    encoding = Encoding(inputs, (OutputSpec("p", type="float64"),))
    batches = [pa.RecordBatch.from_pydict({"x": np.zeros(32)})] * 10
    if good is None:
        with pytest.raises(ModelError, match="raises on every one of the first 80 rows: the model"):
            list(score(batches, Api(), encoding, micro_batch=16, once=True))
        assert made == [16] * 5
    else:
        list(score(batches, Api(), encoding, micro_batch=16, once=True))
        assert made == [16] * 20


def _results(run: Run) -> list[dict[str, object]]:
    return [json.loads(path.read_bytes()) for path in run.result_files()]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_no_precision_has_a_pyfunc_model_called_twice(project: Project, precision: str) -> None:
    loaded = project_of(
        project,
        lambda frame: frame.x.fillna(0.0).to_numpy(),
        scoring__precision=precision,
        scoring__split_rows=250,
    )
    scored(loaded, DAY)
    assert sum(len(call) for call in calls(loaded.home / "calls.log")) == 600
