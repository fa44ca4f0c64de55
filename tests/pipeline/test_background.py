"""A night goes on as soon as its own splits are scored, whatever becomes of the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from conftest import MakeRun
from nocturne.errors import InputError, NocturneError
from nocturne.pipeline.background import Background
from nocturne.pipeline.scoring import Claims
from nocturne.store.run import Run

DAYS = ("2024-01-01", "2024-01-02")


Score = Callable[[Sequence[Run], Any], dict[str, NocturneError]]


class _Executor:
    """Stands for what scores: a function of the test's own."""

    def __init__(self, score: Score) -> None:
        self.score, self.ended = score, False

    def finish(self) -> None:
        self.ended = True


def _results(run: Run) -> None:
    for split in run.plan.splits:
        path = run.result_file(split)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")


@pytest.fixture
def begin(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Score], tuple[list[Run], Background, _Executor]]:
    def make(score: Score) -> Any:
        # These runs have no model; tests/pipeline/test_changed_models.py asks what is to be scored.
        monkeypatch.setattr("nocturne.pipeline.scoring._unfit", lambda runs: {})
        runs, by = [make_run(partition=day) for day in DAYS], _Executor(score)
        return runs, Background(runs, by, lambda *_: None), by  # type: ignore[arg-type]

    return make


def test_the_first_night_is_not_kept_waiting_by_the_second(begin: Any) -> None:
    go_on = threading.Event()

    def score(runs: Sequence[Run], report: Any) -> dict[str, NocturneError]:
        _results(runs[0])
        assert go_on.wait(60)
        _results(runs[1])
        return {}

    runs, scoring, by = begin(score)
    scoring.wait(runs[0])
    assert not by.ended
    go_on.set()
    scoring.wait(runs[1])


def test_scoring_says_nothing_more_of_a_night_that_went_on(begin: Any) -> None:
    go_on = threading.Event()

    def score(runs: Sequence[Run], report: Any) -> dict[str, NocturneError]:
        _results(runs[0])
        assert go_on.wait(60)
        report(2500, 5000)
        _results(runs[1])
        return {}

    runs, scoring, _ = begin(score)
    scoring.wait(runs[0])
    runs[0].state.clear_status(runs[0].plan.run_key)  # published
    go_on.set()
    scoring.wait(runs[1])
    assert runs[0].state.status() is None


def test_a_failed_night_leaves_the_others_alone(begin: Any) -> None:
    def score(runs: Sequence[Run], report: Any) -> dict[str, NocturneError]:
        _results(runs[1])
        return {runs[0].uri: InputError("a bad file"), runs[1].uri: InputError("too late")}

    runs, scoring, by = begin(score)
    with pytest.raises(InputError, match="a bad file"):
        scoring.wait(runs[0])
    scoring.wait(runs[1])
    scoring._thread.join()
    assert by.ended
    current = runs[0].state.status()
    assert current is not None
    assert current.state == "failed"


def test_when_spark_fails_the_nights_that_are_scored_go_on(begin: Any) -> None:
    def score(runs: Sequence[Run], report: Any) -> dict[str, NocturneError]:
        _results(runs[0])
        raise RuntimeError("the cluster burns")

    runs, scoring, _ = begin(score)
    scoring.wait(runs[0])
    with pytest.raises(NocturneError, match="the cluster burns"):
        scoring.wait(runs[1])


def test_a_claim_waits_until_nothing_is_being_said(make_run: MakeRun) -> None:
    run, claims = make_run(), Claims()
    with claims.open([run]) as unfinished:
        assert unfinished == [run]
        claiming = threading.Thread(target=claims.claim, args=(run,))
        claiming.start()
        claiming.join(0.05)
        assert claiming.is_alive()
    claiming.join()
    with claims.open([run]) as unfinished:
        assert unfinished == []
