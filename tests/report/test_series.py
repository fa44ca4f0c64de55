"""Runs of MLflow with a point for each night, which two processes write at the same time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from nocturne.model.tracking import connect, experiment_id
from nocturne.report.series import Entry, log_series
from once import made_once

MODEL = ("small", "1")
WRITES = ("search_runs", "create_run", "set_tag", "get_run", "log_batch", "set_terminated")
REQUESTS = (*WRITES, "delete_run", "delete_tag")
DAYS = ("2024-01-01", "2024-01-02", "2024-01-03")


@pytest.fixture
def client(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> MlflowClient:
    made = made_once(tmp_path_factory, "empty-mlflow", lambda to: _empty(to / "mlflow.db"))
    database = tmp_path / "mlflow.db"
    database.write_bytes((made / "mlflow.db").read_bytes())
    return connect(f"sqlite:///{database}")


def _empty(database: Path) -> None:
    connect(f"sqlite:///{database}").search_experiments()


class Process:
    """Logs nights, and knows which number each has by now, as all processes do.

    ``meanwhile``: what other processes do before its n-th request.
    """

    def __init__(self, client: MlflowClient, numbers: dict[str, float]) -> None:
        self.client, self.numbers = client, numbers
        self.experiment = experiment_id(client, "nocturne/p")
        self.requests = 0
        self.meanwhile: tuple[int, Callable[[], None]] = (0, lambda: None)

    def __getattr__(self, name: str) -> Any:
        really = getattr(self.client, name)
        if name not in REQUESTS:
            return really

        def request(*args: Any, **options: Any) -> Any:
            self.requests += 1
            if self.requests == self.meanwhile[0]:
                self.meanwhile[1]()
            return really(*args, **options)

        return request

    def log(self, day: str, number: float) -> None:
        """Log a number of the night, which it read before."""
        night = [self._entry(day, number)]
        client: Any = self
        log_series(client, self.experiment, "truth", "p", night, self._all)

    def _all(self) -> Iterable[Entry]:
        return [self._entry(day, number) for day, number in self.numbers.items()]

    @staticmethod
    def _entry(day: str, number: float) -> Entry:
        return Entry(day, f"{number}", MODEL, lambda: {"n": number})


def points_of(client: MlflowClient) -> dict[str, list[float]]:
    """The points of the only run, by day."""
    [run] = runs_of(client)
    assert run.info.status == "FINISHED"
    found: dict[str, list[float]] = {}
    for point in client.get_metric_history(run.info.run_id, "n"):
        day = dt.date(1970, 1, 1) + dt.timedelta(days=point.step)
        found.setdefault(day.isoformat(), []).append(point.value)
    return found


def runs_of(client: MlflowClient) -> list[Run]:
    return list(client.search_runs([experiment_id(client, "nocturne/p")]))


@pytest.mark.parametrize(
    "there",
    [
        pytest.param(0, id="no run", marks=pytest.mark.long),
        pytest.param(1, id="a run", marks=pytest.mark.long),
        pytest.param(2, id="the night before"),
    ],
)
@pytest.mark.parametrize("first", [1.0, 2.0])
def test_of_two_numbers_that_are_logged_at_once_the_newer_one_stays(
    client: MlflowClient, there: int, first: float
) -> None:
    """One process logs all of it between any two requests of the other."""
    second = 3.0 - first
    at, ended = 0, False
    while not ended:
        at += 1
        for run in runs_of(client):
            client.delete_run(run.info.run_id)
        numbers = {DAYS[0]: 0.0, DAYS[1]: 0.0} if there == 2 else {DAYS[0]: 0.0} if there else {}
        for day in list(numbers):
            Process(client, numbers).log(day, 0.0)
        one, other = Process(client, numbers), Process(client, numbers)

        def meanwhile(other: Process = other, numbers: dict[str, float] = numbers) -> None:
            numbers[DAYS[1]] = max(numbers[DAYS[1]], second)
            other.log(DAYS[1], second)

        one.meanwhile = at, meanwhile
        numbers[DAYS[1]] = first
        one.log(DAYS[1], first)
        ended = one.requests < at
        if not ended:
            expected = {DAYS[1]: [2.0]} | ({DAYS[0]: [0.0]} if there else {})
            assert points_of(client) == expected, f"before request {at}"
    assert at > 4


def test_nights_that_are_logged_at_once_are_all_there(client: MlflowClient) -> None:
    for at in range(1, 8):
        for run in runs_of(client):
            client.delete_run(run.info.run_id)
        numbers = {DAYS[0]: 0.0}
        Process(client, numbers).log(DAYS[0], 0.0)
        one, other = Process(client, numbers), Process(client, numbers)

        def meanwhile(other: Process = other, numbers: dict[str, float] = numbers) -> None:
            numbers[DAYS[2]] = 2.0
            other.log(DAYS[2], 2.0)

        one.meanwhile = at, meanwhile
        numbers[DAYS[1]] = 1.0
        one.log(DAYS[1], 1.0)
        if DAYS[2] in numbers:
            assert points_of(client) == {DAYS[0]: [0.0], DAYS[1]: [1.0], DAYS[2]: [2.0]}
    assert one.requests == 6
