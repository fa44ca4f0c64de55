"""Outputs of every kind: vectors, classes and their names, taken by name or by position."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from conftest import ENCODING, sample
from nocturne.encoding import Encoding, OutputSpec
from nocturne.engine import REASON, concatenated, score, settle_outputs
from nocturne.errors import ModelError

LOGITS = np.array([[1.0, 3.0, 2.0], [0.0, 0.0, -1.0], [-1000.0, 0.0, 1000.0]], dtype=np.float32)


class Gives:
    """A model that gives the same outputs for each micro-batch."""

    def __init__(self, **outputs: np.ndarray) -> None:
        self.outputs = outputs

    def predict(self, encoded: list[np.ndarray]) -> dict[str, np.ndarray]:
        rows = len(encoded[0])
        return {
            name: np.resize(values, (rows, *values.shape[1:]))
            for name, values in self.outputs.items()
        }


def _scored(outputs: tuple[OutputSpec, ...], rows: int = 3, **raw: np.ndarray) -> pa.RecordBatch:
    encoding = Encoding(ENCODING.inputs, outputs)
    [done] = score(sample(rows).to_batches(), Gives(**raw), encoding, micro_batch=rows)
    return done


def _softmax(values: np.ndarray) -> np.ndarray:
    wide = values.astype(np.float64)
    power = np.exp(wide - wide.max(axis=1, keepdims=True))
    return power / power.sum(axis=1, keepdims=True)


def test_every_post_processing_of_one_output() -> None:
    done = _scored(
        (
            OutputSpec("p", "softmax", source="logits", length=3),
            OutputSpec("index", "argmax", "int64", "logits"),
            OutputSpec("name", "argmax", "string", "logits", labels=("x", "y", "z")),
            OutputSpec("top", "top_k", "string", "logits", 2, ("x", "y", "z")),
            OutputSpec("top_p", "top_k_values", "float64", "logits", 2),
            OutputSpec("raw", "none", "float32", "logits", 3),
            OutputSpec("one", "sigmoid", source="one"),
        ),
        logits=LOGITS,
        one=LOGITS[:, 1:2],
    )
    expected = _softmax(LOGITS)
    np.testing.assert_allclose(done["p"].to_pylist(), expected, rtol=1e-6)
    assert done["index"].to_pylist() == [1, 0, 2]
    assert done["name"].to_pylist() == ["y", "x", "z"]
    assert done["top"].to_pylist() == [["y", "z"], ["x", "y"], ["z", "y"]]
    np.testing.assert_allclose(
        done["top_p"].to_pylist(), -np.sort(-expected, axis=1)[:, :2], rtol=1e-6
    )
    assert done["raw"].to_pylist() == LOGITS.tolist()
    np.testing.assert_allclose(
        done["one"].to_pylist(), 1 / (1 + np.exp(-LOGITS[:, 1].astype(np.float64))), rtol=1e-6
    )
    assert done["p"].type == pa.list_(pa.float32(), 3)
    assert done[REASON].null_count == 3


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int16", "int32", "uint64", "int64", "float16", "float32"]
)
def test_outputs_of_few_bits_are_post_processed_as_numbers(dtype: str) -> None:
    """As of a quantized model, or one that counts votes."""
    votes = np.array([[1, 0, 3], [100, 120, 7], [2, 2, 0]])
    done = _scored(
        (
            OutputSpec("p", "softmax", "float64", "votes", length=3),
            OutputSpec("top", "top_k", "int64", "votes", 3),
            OutputSpec("one", "sigmoid", "float64", "one"),
        ),
        votes=votes.astype(dtype),
        one=votes[:, 0].astype(dtype),
    )
    np.testing.assert_allclose(done["p"].to_pylist(), _softmax(votes), rtol=1e-6, atol=1e-30)
    assert done["top"].to_pylist() == [[2, 0, 1], [1, 0, 2], [0, 1, 2]]
    np.testing.assert_allclose(done["one"].to_pylist(), 1 / (1 + np.exp(-votes[:, 0])), rtol=1e-6)


@pytest.mark.parametrize(
    "output",
    [
        OutputSpec("o", "softmax", source="logits", length=3),
        OutputSpec("o", "argmax", "int64", "logits"),
        OutputSpec("o", "top_k", "string", "logits", 2, ("x", "y", "z")),
        OutputSpec("o", "none", "float32", "logits", 3),
    ],
)
def test_a_row_with_a_nan_among_its_classes_has_no_prediction(output: OutputSpec) -> None:
    broken = LOGITS.copy()
    broken[1, 2] = np.nan
    done = _scored((output,), logits=broken)
    assert done[REASON].to_pylist() == [None, "the prediction o is missing or not finite", None]


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (OutputSpec("o", "softmax", source="logits", length=4), r"shape \(3, 3\), expected \(3, 4"),
        (
            OutputSpec("o", "top_k", "int64", "logits", 4),
            r"shape \(3, 3\), expected \(3, 4 or more",
        ),
        (OutputSpec("o", "argmax", "string", "logits", labels=("x", "y")), r"expected \(3, 2\)"),
        (OutputSpec("o", "none", "float32", "logits", 2), r"shape \(3, 3\), expected \(3, 2\)"),
        (OutputSpec("o", source="other"), "returned the outputs logits; expected other, as its"),
    ],
)
def test_an_output_that_does_not_fit_its_spec_is_refused(output: OutputSpec, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        _scored((output,), logits=LOGITS)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (OutputSpec("o", "softmax"), "softmax needs a length"),
        (OutputSpec("o", "argmax", "int64", length=2), "takes no length"),
        (OutputSpec("o", "argmax"), "argmax has the type float32, expected int64"),
        (OutputSpec("o", "argmax", "int64", labels=("a",)), "expected string, the labels'"),
        (OutputSpec("o", "sigmoid", "int64"), "sigmoid has the type int64, expected float32"),
        (OutputSpec("o", labels=("a",)), "labels belong to argmax or top_k"),
    ],
)
def test_a_spec_that_contradicts_itself_is_refused(output: OutputSpec, said: str) -> None:
    spec = replace(ENCODING, outputs=(output,))
    with pytest.raises(ModelError, match=f"output 'o': .*{said}"):
        Encoding.from_json(spec.to_json())


def test_outputs_of_other_names_are_none_of_those_that_were_settled() -> None:
    first = {"p_a": LOGITS[:, 0], "p_b": LOGITS[:, 1]}
    for declared in ([], [OutputSpec("p_a", type="any"), OutputSpec("p_b", type="any")]):
        outputs = settle_outputs(declared, first, firm=False)
        assert _scored(outputs, **first)["p_b"].to_pylist() == LOGITS[:, 1].tolist()
        for names in (("p_b", "p_c"), ("p_x", "p_y")):
            said = f"returned the outputs {', '.join(names)}; expected p_a, p_b"
            with pytest.raises(ModelError, match=said):
                _scored(outputs, **dict(zip(names, LOGITS.T[:2], strict=True)))


def test_outputs_of_which_only_some_have_a_declared_name_are_refused() -> None:
    outputs = (OutputSpec("a"), OutputSpec("b"))
    with pytest.raises(
        ModelError, match="2 outputs, and 2 are declared .*: a, b; it returned b, c"
    ):
        _scored(outputs, b=LOGITS[:, 0], c=LOGITS[:, 1])


def test_pieces_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ModelError, match=r"shape \(2, 3\) for some rows.*'v', and \(2, 2\) for"):
        concatenated([{"v": LOGITS[:2]}, {"v": LOGITS[:2, :2]}])
    with pytest.raises(ModelError, match="2 outputs for some rows, and 1 for others, of which 1"):
        concatenated([{"v": LOGITS, "Anna Smith": LOGITS}, {"v": LOGITS}])


def test_a_vector_of_an_empty_batch_is_empty() -> None:
    output = OutputSpec("o", "softmax", source="logits", length=3)
    batch = sample(1).to_batches()[0].slice(1)
    [done] = score([batch], Gives(logits=LOGITS), Encoding(ENCODING.inputs, (output,)))
    assert done["o"].to_pylist() == []
    assert done["o"].type == pa.list_(pa.float32(), 3)
