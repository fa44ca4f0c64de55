"""The checks made beside the driver are those that it would make itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import MakeRun
from nocturne.config import Pipeline
from nocturne.errors import ConfigError
from nocturne.pipeline.checks import Checks, check
from nocturne.pipeline.runs import as_planned, write_settings
from nocturne.records.quality import QualityResult
from nocturne.stopwatch import Stopwatch
from nocturne.store.run import Run
from nocturne.worker import split

DAYS = ("2024-01-01", "2024-01-02", "2024-01-03")
SUITE = {
    "name": "input",
    "expectations": [
        {"type": "expect_table_row_count_to_equal", "kwargs": {"value": 2500}},
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "x"}},
    ],
}


def _checks(runs: list[Run]) -> Checks:
    return Checks().start(as_planned(runs[0]).pipeline).expect(runs)


@pytest.fixture
def scored_runs(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[Run]]:
    """Scored runs of a pipeline with a suite in a project of its own."""

    def make(days: tuple[str, ...] = DAYS, suite: str = "input.yaml") -> list[Run]:
        folder = tmp_path / "conf" / "expectations"
        folder.mkdir(parents=True)
        (tmp_path / "conf" / "base.yaml").touch()
        (folder / "input.yaml").write_text(yaml.safe_dump(SUITE))
        monkeypatch.setenv("NOCTURNE_HOME", str(tmp_path))
        pipeline = Pipeline.model_validate(
            {
                "name": "scores",
                "model": {"name": "small", "version": 3},
                "input": {"path": "data"},
                "output": {"path": "out", "keys": ["id"]},
                "quality": {"input_suite": suite},
            }
        )
        runs = []
        for day in days:
            run = make_run(partition=day)
            write_settings(run, pipeline)
            for piece in run.plan.splits:
                split.run_split(run, piece)
            runs.append(run)
        return runs

    return make


def _ask(checks: Checks, run: Run, watch: Stopwatch | None = None) -> QualityResult:
    return checks(run, as_planned(run), watch or Stopwatch())


def _same(one: QualityResult, other: QualityResult) -> bool:
    return one.expectations == other.expectations and len(one.expectations) == 2


def test_a_helper_answers_as_the_driver_would(scored_runs: Callable[..., list[Run]]) -> None:
    runs = scored_runs()
    watch = Stopwatch()
    with closing(_checks(runs)) as checks:
        beside = [_ask(checks, run, watch) for run in runs]
    assert set(watch.seconds) == {"check"}
    assert [len(result.expectations) for result in beside] == [2] * len(runs)
    assert _same(beside[0], check(runs[0], as_planned(runs[0]), Stopwatch()))


def test_nights_that_failed_before_are_passed_over(scored_runs: Callable[..., list[Run]]) -> None:
    runs = scored_runs()
    with closing(_checks(runs)) as checks:
        _ask(checks, runs[0])
        result = _ask(checks, runs[2])
    assert _same(result, check(runs[2], as_planned(runs[2]), Stopwatch()))


def test_when_the_helper_dies_the_driver_does_its_work(
    scored_runs: Callable[..., list[Run]],
) -> None:
    runs = scored_runs(DAYS[:2])
    with closing(_checks(runs)) as checks:
        helper: Any = checks._helper
        helper._process.kill()
        helper._process.wait()
        results = [_ask(checks, run) for run in runs]
    assert _same(results[0], results[1])


def test_a_suite_that_is_gone_is_the_error_of_each_night(
    scored_runs: Callable[..., list[Run]],
) -> None:
    runs = scored_runs(DAYS[:2], suite="gone.yaml")
    with closing(_checks(runs)) as checks:
        for run in runs:
            with pytest.raises(ConfigError, match=r"no suite 'gone\.yaml'"):
                _ask(checks, run)


def test_a_wrong_suite_is_said_in_the_drivers_words(
    scored_runs: Callable[..., list[Run]], tmp_path: Path
) -> None:
    runs = scored_runs(DAYS[:1])
    suite = tmp_path / "conf" / "expectations" / "input.yaml"
    suite.write_text(suite.read_text().replace("not_be_null", "not_be_nul"))
    with closing(_checks(runs)) as checks, pytest.raises(ConfigError, match="did you mean"):
        _ask(checks, runs[0])


def test_without_suites_nothing_is_started(make_run: MakeRun) -> None:
    pipeline = Pipeline.model_validate(
        {
            "name": "scores",
            "model": {"name": "small", "version": 3},
            "input": {"path": "data"},
            "output": {"path": "out", "keys": ["id"]},
        }
    )
    run = make_run()
    write_settings(run, pipeline)
    with closing(_checks([run])) as checks:
        assert checks._helper is None
