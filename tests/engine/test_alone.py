"""A graph whose outputs for a row are not always the same is refused; every other one is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nocturne.encoding import Encoding, Feature, OutputSpec, TensorSpec
from nocturne.engine import load_torch, require_rows_alone
from nocturne.errors import ModelError

X = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)
ENCODING = Encoding(
    (TensorSpec("x", "float32", "numeric", tuple(Feature(f"x{i}") for i in range(3))),),
    (OutputSpec("p"),),
)


class Module(torch.nn.Module):
    """What a function makes of it and of the rows."""

    def __init__(self, forward: Callable[[Any, torch.Tensor], Any], *, training: bool) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.made = forward
        self.dense, self.norm = torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3)
        self.drop = torch.nn.Dropout(0.5)
        self.register_buffer("kept", torch.zeros(3))
        self.train(training)

    def forward(self, x: torch.Tensor) -> Any:
        return self.made(self, x)


def exported(forward: Any, folder: Path, *, training: bool = False) -> Any:
    program = torch.export.export(
        Module(forward, training=training),
        (torch.zeros(4, 3),),
        dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
    )
    torch.export.save(program, folder / "model.pt2")
    return load_torch(str(folder), ENCODING)


def _counted(model: Any, x: torch.Tensor) -> Any:
    model.kept.add_(1)
    return model.dense(x)


def _returned(model: Any, x: torch.Tensor) -> Any:
    """The mean of the rows is in each of them, as a view of what the model keeps."""
    model.kept.copy_(x.mean(0))
    return model.dense(x), model.kept.expand(x.shape[0], 3)


ALIKE: dict[str, Any] = {
    "layers": lambda m, x: m.norm(torch.relu(m.dense(x))),
    "a softmax of a row's own": lambda m, x: torch.softmax(m.dense(x), 1),
    "a precision of half the bits": lambda m, x: m.dense(x).to(torch.bfloat16) * 3,
    "values that are not finite": lambda m, x: torch.log(m.dense(x)),
    "integers": lambda m, x: m.dense(x).argmax(1),
    "truths": lambda m, x: m.dense(x) > 0,
    "calls that are counted": _counted,
    "dropout in evaluation mode": lambda m, x: m.drop(m.dense(x)),
    "a choice by a bound that no row passes": lambda m, x: torch.where(
        x.abs().max() > 1e6, 0.0, m.dense(x)
    ),
    "one number for all, which its shape refuses": lambda m, x: m.dense(x).sum(),
}


@pytest.mark.parametrize("name", ALIKE)
@pytest.mark.parametrize("rows", [1, 2, 5, 16])
def test_a_graph_of_rows_by_themselves_is_taken(tmp_path: Path, name: str, rows: int) -> None:
    require_rows_alone(exported(ALIKE[name], tmp_path), [X[:rows]])


AGAIN, TOGETHER = "when it is called again", "if the rows that come with it are others"
DIFFERENT: dict[str, tuple[Any, bool, str]] = {
    "dropout in training mode": (lambda m, x: m.drop(m.dense(x)), True, AGAIN),
    "noise": (lambda m, x: m.dense(x) + torch.randn_like(x), False, AGAIN),
    "a count of the calls": (lambda m, x: m.dense(x) + m.kept.add_(1), False, AGAIN),
    "batch normalization in training mode": (lambda m, x: m.norm(x), True, TOGETHER),
    "a softmax over the rows": (lambda m, x: torch.softmax(m.dense(x), 0), False, TOGETHER),
    "a sum up to the row": (lambda m, x: x.cumsum(0), False, TOGETHER),
    "a sum from the row on": (lambda m, x: x.flip(0).cumsum(0).flip(0), False, TOGETHER),
    "a rank": (lambda m, x: x[:, 0].argsort().argsort(), False, TOGETHER),
    "rows in order": (lambda m, x: x[:, 0].sort().values, False, TOGETHER),
    "a share of the largest": (lambda m, x: x[:, 0] / x[:, 0].max(), False, TOGETHER),
    "the row before": (lambda m, x: x - x.roll(1, 0), False, TOGETHER),
    "a view of a tensor that it keeps": (_returned, False, TOGETHER),
}


@pytest.mark.parametrize("name", DIFFERENT)
@pytest.mark.parametrize("rows", [4, 5, 16])
def test_a_graph_that_mixes_rows_or_calls_is_refused(tmp_path: Path, name: str, rows: int) -> None:
    forward, training, why = DIFFERENT[name]
    model = exported(forward, tmp_path, training=training)
    with pytest.raises(ModelError, match=f"{why}.*Export it after module.eval()"):
        require_rows_alone(model, [X[:rows]])


def test_a_graph_keeps_nothing_of_what_it_has_returned(tmp_path: Path) -> None:
    model = exported(_returned, tmp_path)
    _, mean = model.predict([X[:8]])
    model.predict([X[8:]])
    np.testing.assert_allclose(mean, np.tile(X[:8].mean(0), (8, 1)), rtol=1e-6)


def test_a_model_that_raises_or_takes_real_rows_only_is_not_judged() -> None:
    class Raises:
        def predict(self, encoded: Any) -> Any:
            raise IndexError("no")

    class Real:
        padded = False

        def predict(self, encoded: Any) -> Any:
            raise AssertionError("it may cost")

    require_rows_alone(Raises(), [X])
    require_rows_alone(Real(), [X])
