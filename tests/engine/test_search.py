"""The search: it takes what is faster, and only what agrees."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nocturne.engine import first_sizes, search
from nocturne.errors import ModelError

SAMPLE = [np.ones((3000, 4), dtype=np.float32)]


class Costs:
    """A model that takes so long a call, and so long a row over its cache."""

    def __init__(self, call: float, row: float = 0.0, cache: int = 1 << 30, adds: float = 0.0):
        self.call, self.row, self.cache, self.adds = call, row, cache, adds

    def predict(self, encoded: list[np.ndarray]) -> list[np.ndarray]:
        rows = len(encoded[0])
        time.sleep(self.call + self.row * (rows if rows > self.cache else 0))
        return [encoded[0].sum(axis=1) + self.adds]


def test_the_micro_batch_grows_while_calls_cost_and_stops_where_the_cache_ends() -> None:
    found = search(
        lambda _: Costs(1e-3, 1e-5, cache=2048), ["graph"], SAMPLE, start=512, largest=8192
    )
    assert found.micro_batch == 2048
    assert found.found
    assert set(found.seconds_per_million) == {f"graph/{1 << p}" for p in (9, 10, 11, 12, 13)}


class Ticks:
    """A model whose calls cost ticks of a clock of its own, by their rows."""

    def __init__(self, costs: dict[int, float]) -> None:
        self.costs, self.now = costs, 0.0

    def predict(self, encoded: list[np.ndarray]) -> list[np.ndarray]:
        self.now += self.costs.get(len(encoded[0]), 1.0) * len(encoded[0])
        return [encoded[0].sum(axis=1)]


@pytest.mark.parametrize(
    ("costs", "best"),
    [
        ({512: 1.0, 1024: 1.1, 2048: 0.5}, 2048),  # one size that does not help is looked past
        ({512: 0.9, 1024: 1.0, 2048: 1.0, 4096: 0.1}, 512),  # two are the end
        ({512: 1.0, 256: 0.99}, 512),  # less than 3% is no reason
    ],
)
def test_what_the_clock_says_decides(costs: dict[int, float], best: int) -> None:
    model = Ticks(costs)
    found = search(
        lambda _: model, ["graph"], SAMPLE, start=512, largest=8192, clock=lambda: model.now
    )
    assert found.micro_batch == best
    assert found.seconds_per_million[f"graph/{best}"] == pytest.approx(1e6 * costs[best])


def test_it_shrinks_where_the_start_is_too_large() -> None:
    found = search(
        lambda _: Costs(1e-4, 1e-5, cache=1500), ["graph"], SAMPLE, start=2048, largest=4096
    )
    assert found.micro_batch == 1024


def test_a_faster_kernel_is_taken_if_it_agrees() -> None:
    models = {"graph": Costs(4e-3), "fast": Costs(1e-3), "wrong": Costs(0, adds=1e-3)}
    found = search(models.__getitem__, list(models), SAMPLE, start=1024, largest=1024)
    assert found.kernel == "fast"
    assert "wrong/1024" not in found.seconds_per_million


class Machine:
    """A processor whose speed changes while it is searched on, and its clock."""

    def __init__(self, slower: Callable[[int], float]) -> None:
        self.slower, self.now, self.calls = slower, 0.0, 0

    def kernel(self, cost: float) -> Any:
        machine = self

        class Kernel:
            def predict(self, encoded: list[np.ndarray]) -> list[np.ndarray]:
                machine.calls += 1
                machine.now += cost * len(encoded[0]) * machine.slower(machine.calls)
                return [encoded[0].sum(axis=1)]

        return Kernel()


def test_what_the_machine_does_while_one_kernel_is_tried_does_not_decide() -> None:
    """It is twice as slow until the second kernel is tried, as while the JVM starts."""
    tried: list[str] = []
    machine = Machine(lambda _: 2.0 if tried[-1:] == ["first"] else 1.0)
    models = {"first": machine.kernel(0.9e-9), "second": machine.kernel(1e-9)}

    def load(kernel: str) -> Any:
        tried.append(kernel)
        return models[kernel]

    found = search(load, [*models], SAMPLE, start=512, largest=512, clock=lambda: machine.now)
    assert found.kernel == "second", "by far: it is not measured again"
    machine.slower = lambda _: 1.15 if tried[-1:] == ["first"] else 1.0
    found = search(load, [*models], SAMPLE, start=512, largest=512, clock=lambda: machine.now)
    assert found.kernel == "first"


@pytest.mark.parametrize("seed", range(20))
def test_noise_does_not_decide_between_kernels_that_are_alike(seed: int) -> None:
    noise = np.random.default_rng(seed)
    machine = Machine(lambda _: 1.0 + noise.exponential(0.05))
    models = {"graph": machine.kernel(1e-9), "other": machine.kernel(0.99e-9)}
    found = search(
        models.__getitem__, [*models], SAMPLE, start=512, largest=2048, clock=lambda: machine.now
    )
    assert (found.kernel, found.micro_batch) == ("graph", 512)


@pytest.mark.parametrize("seed", range(20))
def test_a_kernel_that_is_a_tenth_faster_is_found_among_noise(seed: int) -> None:
    noise = np.random.default_rng(seed)
    machine = Machine(lambda _: 1.0 + noise.exponential(0.05))
    models = {"graph": machine.kernel(1e-9), "other": machine.kernel(0.9e-9)}
    found = search(
        models.__getitem__, [*models], SAMPLE, start=512, largest=2048, clock=lambda: machine.now
    )
    assert found.kernel == "other"


@pytest.mark.parametrize("calls", range(10, 200, 17))
def test_a_model_that_fails_late_says_nothing_of_its_rows(calls: int) -> None:
    class Failing(Costs):
        left = calls

        def predict(self, encoded: list[np.ndarray]) -> list[np.ndarray]:
            self.left -= 1
            if self.left < 0:
                raise RuntimeError("row 17: name Anna Smith")
            return super().predict(encoded)

    models = {"graph": Failing(1e-5), "onednn": Failing(1e-5)}
    said = ""
    try:
        search(models.__getitem__, [*models], SAMPLE, start=256, largest=1024)
    except ModelError as error:
        said = str(error)
    assert "Anna" not in said


def test_a_kernel_that_fails_while_it_is_compared_is_out() -> None:
    failing = Costs(1e-6)
    whole = failing.predict
    left = [100]

    def predict(encoded: list[np.ndarray]) -> list[np.ndarray]:
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("the licence has run out")
        return whole(encoded)

    failing.predict = predict  # type: ignore[method-assign]
    models = {"graph": Costs(1.1e-6), "fast": failing}
    found = search(models.__getitem__, [*models], SAMPLE, start=1024, largest=1024)
    assert found.kernel == "graph"
    assert left[0] < 0


def test_a_kernel_that_does_not_apply_is_left_out() -> None:
    def load(kernel: str) -> Costs:
        if kernel == "other":
            raise ModelError("the model has no linear layer")
        return Costs(1e-4)

    assert search(load, ["other", "graph"], SAMPLE, start=256, largest=256).kernel == "graph"


def test_a_model_that_no_kernel_runs_is_an_error() -> None:
    def load(kernel: str) -> Costs:
        raise ValueError("nothing works")

    with pytest.raises(ModelError, match="can't score a sample .* ValueError: nothing works"):
        search(load, ["graph"], SAMPLE, start=256, largest=256)


@pytest.mark.parametrize(
    ("width", "device"), [(4, "cpu"), (80, "cpu"), (100_000, "cpu"), (80, "cuda"), (1024, "cuda")]
)
def test_it_starts_within_bounds_at_a_power_of_two(width: int, device: str) -> None:
    start, largest = first_sizes(width, device)
    assert start & (start - 1) == 0
    assert 256 <= start <= largest


def test_wider_rows_start_smaller() -> None:
    assert first_sizes(4000, "cpu")[0] < first_sizes(40, "cpu")[0]
    assert first_sizes(80, "cuda", 8 << 30)[0] <= first_sizes(80, "cuda", 80 << 30)[0]
