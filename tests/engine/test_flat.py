"""The flat form: written by the first load, equal in bits, never trusted when the model changed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from nocturne.encoding import Encoding, Feature, OutputSpec, TensorSpec
from nocturne.engine import load_torch

SPEC = Encoding(
    (TensorSpec("x", "float32", "numeric", tuple(Feature(f"n{i}") for i in range(3))),),
    (OutputSpec("p"),),
)
ROWS = [np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)]


class Odd(torch.nn.Module):
    """Shapes, dtypes, slices, infinities and constants in the graph."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.dense = torch.nn.Linear(3, 4)
        self.register_buffer("shift", torch.tensor([1.0, float("inf"), 2.0, 3.0]))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = torch.clamp(self.dense(x), min=-float("inf"), max=3.5).to(torch.float64)
        y = torch.where(torch.isinf(self.shift), y, y + self.shift)
        extra = torch.arange(x.shape[0], device=x.device).to(torch.float32) * 0.0
        return y[:, 1:3].sum(dim=1).to(torch.float32) + extra, y.reshape(x.shape[0] * 2, 2)[:, 0]


def _export(folder: Path, module: torch.nn.Module) -> None:
    folder.mkdir(exist_ok=True)
    rows = torch.export.Dim.DYNAMIC
    program = torch.export.export(module.eval(), (torch.zeros(4, 3),), dynamic_shapes=({0: rows},))
    torch.export.save(program, folder / "model.pt2")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    _export(tmp_path / "model", Odd())
    return tmp_path / "model"


def _predicted(folder: Path, kernel: str = "graph") -> list[np.ndarray]:
    return list(load_torch(str(folder), SPEC, kernel=kernel).predict(ROWS))  # type: ignore[arg-type]


@pytest.mark.parametrize("kernel", ["graph", "onednn"])
def test_the_second_load_is_flat_and_gives_the_same_bits(folder: Path, kernel: str) -> None:
    first = _predicted(folder, kernel)
    assert (folder.with_name("model.flat") / "graph.json").exists()
    (folder / "model.pt2").write_bytes(b"")  # were it read, this would fail
    stored = folder.with_name("model.flat") / "graph.json"
    kept = json.loads(stored.read_bytes())
    stat = (folder / "model.pt2").stat()
    kept["source"][1:3] = [stat.st_size, stat.st_mtime_ns]
    stored.write_text(json.dumps(kept))
    for one, other in zip(first, _predicted(folder, kernel), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_model_that_changed_is_loaded_anew(folder: Path) -> None:
    before = _predicted(folder)
    _export(folder, Odd(seed=1))
    assert not np.array_equal(before[0], _predicted(folder)[0])


@pytest.mark.parametrize("damage", ["", "{}", '{"format": 1, "nodes": [{"op": "call_function"}]}'])
def test_a_damaged_flat_form_is_passed_over(folder: Path, damage: str) -> None:
    before = _predicted(folder)
    (folder.with_name("model.flat") / "graph.json").write_text(damage)
    np.testing.assert_array_equal(_predicted(folder)[0], before[0])


def test_a_function_that_is_no_operator_is_never_called(folder: Path) -> None:
    before = _predicted(folder)
    stored = folder.with_name("model.flat") / "graph.json"
    text = stored.read_text()
    stored.write_text(text.replace("aten.clamp.default", "os.system.default"))
    np.testing.assert_array_equal(_predicted(folder)[0], before[0])


def test_it_loads_without_torchs_compiler(folder: Path) -> None:
    """In a process of its own: what torch.export.load imports is what this is there to save."""
    _predicted(folder)
    code = (
        "import sys; from nocturne.engine.program import load_program; "
        f"load_program({str(folder)!r}); "
        "assert 'torch._dynamo.convert_frame' not in sys.modules; print('light')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "light", done.stderr
