"""The accelerator's path, on a CPU without its streams: staging, lanes, memory that runs out."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from conftest import ENCODING, Small, sample
from nocturne.engine import REASON, DeviceModel, TorchModel, score
from nocturne.engine.device_model import LANES
from nocturne.errors import DeviceLost, ModelError

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def _model(module: torch.nn.Module) -> DeviceModel:
    return DeviceModel(module.to(DEVICE), DEVICE)


def _scores(model: object, table: pa.Table, batch_rows: int, micro_batch: int) -> np.ndarray:
    batches = table.to_batches(max_chunksize=batch_rows)
    done = score(batches, model, ENCODING, micro_batch=micro_batch)  # type: ignore[arg-type]
    return np.concatenate([b.column("score").to_numpy(zero_copy_only=False) for b in done])


@pytest.mark.parametrize("batch_rows", [100, 1000, 5000])
def test_it_gives_the_same_scores_in_order_however_many_are_in_flight(batch_rows: int) -> None:
    table = sample(5000).combine_chunks()
    expected = _scores(TorchModel(Small()), table, batch_rows, 128)
    found = _scores(_model(Small()), table, batch_rows, 128)
    if DEVICE == "cpu":
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


class Bounded(Small):
    """Memory for so many rows, as a GPU's would end."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def forward(self, numbers: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        if len(numbers) > self.most:
            raise torch.OutOfMemoryError("out of memory. Tried to allocate 2.00 GiB")
        return super().forward(numbers, codes)


def test_a_batch_that_does_not_fit_is_halved_until_it_does_and_no_row_is_lost() -> None:
    table = sample(5000).combine_chunks()
    model = _model(Bounded(150))
    found = _scores(model, table, 2000, 1024)
    np.testing.assert_allclose(found, _scores(TorchModel(Small()), table, 2000, 1024), rtol=1e-5)
    assert model.limit == 128


def test_memory_for_no_row_at_all_is_an_error_that_says_so() -> None:
    with pytest.raises(ModelError, match="no memory for a single row: out of memory"):
        _scores(_model(Bounded(0)), sample(100), 100, 64)


class Raising(Small):
    def forward(self, numbers: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        if (numbers[:, 1] > 1e6).any():
            raise RuntimeError("too large")
        return super().forward(numbers, codes)


def test_rows_on_which_it_raises_are_found_and_the_others_are_scored() -> None:
    table = sample(3000)
    y = table["y"].to_numpy().copy()
    y[[5, 1700]] = 1e7
    table = table.set_column(2, "y", pa.array(y)).combine_chunks()
    batches = table.to_batches(max_chunksize=1000)
    done = pa.Table.from_batches(score(batches, _model(Raising()), ENCODING, micro_batch=256))
    bad = [i for i, reason in enumerate(done[REASON].to_pylist()) if reason]
    assert bad == [5, 1700]


class Dying(Small):
    def forward(self, numbers: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        raise torch.AcceleratorError("CUDA error: unspecified launch failure", 719)


def test_a_device_that_fails_is_no_bad_row() -> None:
    with pytest.raises(DeviceLost, match="failed: .*CUDA error: unspecified launch failure"):
        _scores(_model(Dying()), sample(300), 100, 64)


class Refusing(Small):
    def forward(self, numbers: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        raise torch.AcceleratorError("CUDA error: device-side assert triggered", 710)


def test_a_value_that_an_operator_refuses_on_the_device_is_not_to_be_tried_again() -> None:
    with pytest.raises(ModelError, match=r"beyond an embedding.*scoring\.device: cpu"):
        _scores(_model(Refusing()), sample(300), 100, 64)


def test_lanes_are_bounded_however_many_micro_batches_a_batch_has() -> None:
    model = _model(Small())
    _scores(model, sample(20_000).combine_chunks(), 10_000, 64)
    assert len(model._lanes) == LANES
