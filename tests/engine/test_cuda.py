"""What only a GPU can show; skipped where torch sees none."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from conftest import ENCODING, MakeRun, sample
from nocturne.engine import REASON, DeviceModel, first_sizes, load_torch, score, search
from nocturne.engine.encode import encode
from nocturne.records.plan import ModelRef
from nocturne.store.run import Run
from nocturne.worker.slots import DeviceSlot
from nocturne.worker.split import run_split

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")


@pytest.fixture(autouse=True)
def _nothing_is_warned_of() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given buffer is not writable")  # torch's own
        warnings.simplefilter("error", UserWarning, append=True)
        yield


def _on_gpu(run: Run, **changes: object) -> Run:
    return run.changed(pinned=replace(run.plan.pinned, device="cuda", **changes))  # type: ignore[arg-type]


def _column(run: Run, name: str) -> np.ndarray:
    found = []
    for split in run.plan.splits:
        result = run_split(
            run, split, DeviceSlot("cuda:0" if run.plan.pinned.device == "cuda" else None)
        )
        assert result.quarantined == 0
        found.append(pq.read_table(run.path / "attempts" / result.file)[name].to_numpy())
    return np.concatenate(found)


def test_a_split_has_the_scores_that_a_cpu_gives_it(make_run: MakeRun) -> None:
    run = make_run()
    expected = _column(run, "score")
    for split in run.plan.splits:
        run.result_file(split).unlink()
    np.testing.assert_allclose(_column(_on_gpu(run), "score"), expected, rtol=1e-5)


def test_two_attempts_of_a_split_are_equal_bytes(make_run: MakeRun) -> None:
    run = _on_gpu(make_run())
    first = run_split(run, run.plan.splits[0], DeviceSlot("cuda:0", 0.5))
    decided = run.result_file(run.plan.splits[0])
    decided.rename(decided.with_suffix(".away"))
    assert run_split(run, run.plan.splits[0], DeviceSlot("cuda:0", 0.5)).sha256 == first.sha256


def test_bfloat16_says_its_error(make_run: MakeRun) -> None:
    run = _on_gpu(make_run(), precision="bfloat16")
    result = run_split(run, run.plan.splits[0], DeviceSlot("cuda:0"))
    assert 0 < result.precision_error["score"] < 0.02


def _load(small_model: ModelRef, precision: str = "float32") -> DeviceModel:
    model = load_torch(small_model.path, ENCODING, device="cuda", precision=precision)
    assert isinstance(model, DeviceModel)
    return model


def test_the_program_is_captured_as_a_cuda_graph(small_model: ModelRef) -> None:
    model = _load(small_model)
    list(score(sample(1000).to_batches(), model, ENCODING, micro_batch=256))
    assert all(lane.graph is not None for lane in model._lanes)


def test_the_search_finds_a_micro_batch(small_model: ModelRef) -> None:
    encoded = encode(sample(16_384).combine_chunks().to_batches()[0], ENCODING)
    start, largest = first_sizes(ENCODING.row_bytes, "cuda", torch.cuda.mem_get_info()[0])
    found = search(lambda _: _load(small_model), ["graph"], encoded, start=start, largest=largest)
    assert found.found
    assert 1024 <= found.micro_batch <= largest


def test_memory_that_runs_out_halves_the_micro_batch(small_model: ModelRef) -> None:
    table = sample(1 << 21).combine_chunks()
    [expected] = score(table.to_batches(), _load(small_model), ENCODING, micro_batch=1 << 12)
    model = _load(small_model)
    torch.cuda.empty_cache()
    _, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + (64 << 20)) / total)
    try:
        [found] = score(table.to_batches(), model, ENCODING, micro_batch=1 << 21)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert model.limit is not None
    assert model.limit < 1 << 21
    one, other = (batch.column("score").to_numpy() for batch in (found, expected))
    np.testing.assert_allclose(one, other, rtol=1e-5)
    assert found.column(REASON).null_count == table.num_rows


class Branching(torch.nn.Module):
    """Reads a value back in the middle, which no CUDA graph can do."""

    def __init__(self) -> None:
        super().__init__()
        self.words = torch.nn.Embedding(3, 2)

    def forward(self, numbers: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        if (numbers[:, 1] > 1e6).any():
            raise RuntimeError("too large")
        return numbers.sum(dim=1) + self.words(codes[:, 0]).sum(dim=1)


def test_what_cannot_be_captured_runs_operator_by_operator() -> None:
    torch.manual_seed(1)
    module = Branching()
    table = sample(3000).combine_chunks()
    model = DeviceModel(Branching().cuda(), "cuda")
    model.run.load_state_dict(module.state_dict())  # type: ignore[attr-defined]
    found = pa.Table.from_batches(
        score(table.to_batches(max_chunksize=700), model, ENCODING, micro_batch=256)
    )
    numbers, codes = (torch.from_numpy(a) for a in encode(table.to_batches()[0], ENCODING))
    expected = torch.sigmoid(module(numbers, codes)).detach().numpy()
    np.testing.assert_allclose(found["score"].to_numpy(), expected, rtol=1e-5)
    assert all(lane.graph is None for lane in model._lanes)


BEYOND = """
import sys, torch
sys.path[:0] = sys.argv[1:]
from conftest import ENCODING, Small, sample
from nocturne.engine import DeviceModel, score
from nocturne.errors import ModelError
from dataclasses import replace

tensors = list(ENCODING.inputs)
tensors[1] = replace(tensors[1], features=(replace(tensors[1].features[0], unknown=9),))
try:
    list(score(sample(3000).to_batches(), DeviceModel(Small().cuda(), "cuda"),
               replace(ENCODING, inputs=tuple(tensors)), micro_batch=256))
except ModelError as error:
    print(error)
"""


def test_an_index_beyond_the_embedding_is_refused_with_what_to_do() -> None:
    """In a process of its own: the device is lost to the one in which it happens."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", BEYOND, str(root / "tests"), str(root / "jobs")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "scoring.device: cpu" in done.stdout, done.stderr[-2000:]
