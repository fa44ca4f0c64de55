"""The engine: encodes without row loops, is bit-equal however rows are batched, names bad rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from conftest import ENCODING, Small, sample
from nocturne.encoders import ENCODERS
from nocturne.encoding import Encoding, Feature, OutputSpec, TensorSpec
from nocturne.encoding.post import POST
from nocturne.engine import (
    REASON,
    DeviceModel,
    TorchModel,
    encode,
    load_torch,
    prefetch,
    score,
)
from nocturne.engine.device_model import LANES
from nocturne.errors import InputError, ModelError
from nocturne.fitting import check_columns


def _scores(table: pa.Table, batch_rows: int, micro_batch: int = 256) -> np.ndarray:
    batches = table.to_batches(max_chunksize=batch_rows)
    done = score(batches, TorchModel(Small()), ENCODING, micro_batch=micro_batch)
    return np.concatenate([b.column("score").to_numpy(zero_copy_only=False) for b in done])


def test_a_row_gets_the_same_bits_whatever_batch_it_comes_in() -> None:
    table = sample(3001)
    whole = _scores(table, 100_000)
    assert np.array_equal(whole, _scores(table, 7))
    assert np.array_equal(whole, _scores(table, 1000))


def test_scores_agree_across_micro_batches_within_a_relative_1e5() -> None:
    table = sample(3001)
    np.testing.assert_allclose(_scores(table, 4096, 64), _scores(table, 4096, 2048), rtol=1e-5)


def test_the_engine_gives_what_the_module_gives_by_hand() -> None:
    table = sample(50)
    x = np.nan_to_num(table["x"].to_numpy(), nan=0.5)
    numbers = np.stack([x, table["y"].to_numpy()], axis=1).astype(np.float32)
    codes = [[{"a": 0, "b": 1}.get(word, 2)] for word in table["word"].to_pylist()]
    with torch.inference_mode():
        expected = torch.sigmoid(Small()(torch.from_numpy(numbers), torch.tensor(codes)))[:, 0]
    np.testing.assert_allclose(_scores(table, 50), expected.numpy(), rtol=1e-6)


def test_null_and_nan_are_filled_then_scaled() -> None:
    spec = TensorSpec("n", "float32", "numeric", (Feature("v", fill=3.0, center=1.0, scale=2.0),))
    batch = pa.record_batch({"v": pa.array([1.0, None, float("nan"), 5.0])})
    assert ENCODERS["numeric"].encode(batch, spec).tolist() == [[0.0], [1.0], [1.0], [2.0]]


def test_large_integers_survive_an_integer_tensor_with_nulls() -> None:
    big = 2**53 + 1
    spec = TensorSpec("n", "int64", "numeric", (Feature("v", fill=-1),))
    batch = pa.record_batch({"v": pa.array([big, None])})
    assert ENCODERS["numeric"].encode(batch, spec).tolist() == [[big], [-1]]


def test_unknown_and_null_categories_get_the_unknown_index() -> None:
    spec = TensorSpec("c", "int64", "category", (Feature("v", vocabulary=("p", "q"), unknown=9),))
    batch = pa.record_batch({"v": pa.array(["q", None, "zzz", "p"]).dictionary_encode()})
    assert ENCODERS["category"].encode(batch, spec).tolist() == [[1], [9], [9], [0]]


def test_lists_are_cut_and_padded() -> None:
    spec = TensorSpec("l", "int64", "list", (Feature("v", length=3, pad=0),))
    values = [[1, 2, 3, 4], [], None, [5, None]]
    for type_ in (pa.list_(pa.int64()), pa.large_list(pa.int64())):
        batch = pa.record_batch({"v": pa.array(values, type_)})
        assert ENCODERS["list"].encode(batch, spec).tolist() == [
            [1, 2, 3],
            [0, 0, 0],
            [0, 0, 0],
            [5, 0, 0],
        ]


def test_a_sliced_batch_encodes_as_its_own_rows() -> None:
    spec = TensorSpec("l", "int64", "list", (Feature("v", length=2),))
    batch = pa.record_batch({"v": pa.array([[9], [1, 2], [3]])}).slice(1)
    assert ENCODERS["list"].encode(batch, spec).tolist() == [[1, 2], [3, 0]]


class Raising(Small):
    """Raises on a marked row, as a model with an assertion inside would."""

    calls = 0

    def forward(self, numbers: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        Raising.calls += 1
        if (numbers[:, 1] > 1e6).any():
            raise RuntimeError("too large")
        return super().forward(numbers, codes)


def test_rows_on_which_the_model_raises_are_found_by_halving() -> None:
    table = sample(1000)
    y = table["y"].to_numpy().copy()
    y[[17, 800]] = 1e7
    table = table.set_column(2, "y", pa.array(y))
    Raising.calls = 0
    [done] = score(
        table.combine_chunks().to_batches(), TorchModel(Raising()), ENCODING, micro_batch=256
    )
    bad = [i for i, reason in enumerate(done.column(REASON).to_pylist()) if reason]
    assert bad == [17, 800]
    assert "too large" in done.column(REASON)[17].as_py()
    assert Raising.calls <= 4 + 2 * 2 * 9, "O(bad x log batch) calls"
    good = np.setdiff1d(np.arange(1000), bad)
    scores = done.column("score").to_numpy()
    np.testing.assert_array_equal(scores[good], _scores(table, 1000)[good])


def _hopeless(rows: int) -> pa.Table:
    return sample(rows).set_column(2, "y", pa.array([1e7] * rows))


def test_a_model_that_raises_on_each_of_the_first_thousand_rows_is_refused() -> None:
    batches = _hopeless(2000).to_batches(max_chunksize=300)
    with pytest.raises(ModelError, match="every one of the first 1200 rows.*too large"):
        list(score(batches, TorchModel(Raising()), ENCODING, micro_batch=300))


def test_bad_rows_that_come_together_are_quarantined_alone() -> None:
    table = pa.concat_tables([sample(64), _hopeless(66)])
    done = list(
        score(table.combine_chunks().to_batches(), TorchModel(Raising()), ENCODING, micro_batch=64)
    )
    assert sum(len(b) - b.column(REASON).null_count for b in done) == 66


class Fixed:
    """Returns the given predictions, padded to the micro-batch."""

    def __init__(self, *values: object, dtype: object = None) -> None:
        self.values = np.array(values, dtype=dtype)  # type: ignore[call-overload]

    def predict(self, encoded: object) -> list[np.ndarray]:
        return [np.resize(self.values, 64)]


@pytest.mark.parametrize(
    ("type_", "values", "dtype", "bad"),
    [
        ("float64", (1.0, None), object, [1]),
        ("string", ("a", None), object, [1]),
        ("float32", (1.0, 1e300), np.float64, [1]),
        ("int64", (2**53 + 1, 5), np.int64, []),
        ("bool", (True, False), bool, []),
    ],
)
def test_what_is_no_prediction_gets_a_reason_and_the_rest_stays_exact(
    type_: str, values: tuple[object, ...], dtype: object, bad: list[int]
) -> None:
    encoding = Encoding(ENCODING.inputs, (OutputSpec("p", type=type_),))  # type: ignore[arg-type]
    [done] = score(sample(2).to_batches(), Fixed(*values, dtype=dtype), encoding, micro_batch=64)
    reasons = done.column(REASON).to_pylist()
    assert [i for i, reason in enumerate(reasons) if reason] == bad
    good = [i for i in range(2) if i not in bad]
    assert [done.column("p")[i].as_py() for i in good] == [values[i] for i in good]


def test_outputs_by_name_are_taken_by_name() -> None:
    class Named:
        def predict(self, encoded: object) -> dict[str, np.ndarray]:
            return {"b": np.full(64, 2.0), "a": np.full(64, 1.0)}

    encoding = Encoding(ENCODING.inputs, (OutputSpec("a"), OutputSpec("b")))
    [done] = score(sample(3).to_batches(), Named(), encoding, micro_batch=64)
    assert done.column("a").to_pylist() == [1.0] * 3


@pytest.mark.parametrize(
    ("wanted", "actual"),
    [("integer", pa.uint32()), ("long", pa.uint64()), ("int64", pa.float64())],
)
def test_types_that_would_wrap_or_truncate_are_refused(wanted: str, actual: pa.DataType) -> None:
    spec = (
        TensorSpec("n", "int64", "numeric", (Feature("v"),))
        if wanted == "int64"
        else TensorSpec("frame", "frame", "frame", (Feature("v", type=wanted),))
    )
    [said] = check_columns(Encoding((spec,), ()), pa.schema([("v", actual)]))
    assert f"column 'v' is {actual}, the model wants" in said


def test_an_integer_that_a_float_can_not_hold_is_refused() -> None:
    spec = TensorSpec("frame", "frame", "frame", (Feature("v", type="float"),))
    good = pa.record_batch({"v": pa.array([1, None, 16777216])})
    assert ENCODERS["frame"].encode(good, spec).column("v").to_pylist() == [1.0, None, 16777216.0]
    with pytest.raises(InputError, match="'v' is int64, the model wants float, and a value would"):
        ENCODERS["frame"].encode(pa.record_batch({"v": pa.array([16777217])}), spec)


def test_predictions_that_are_not_finite_get_a_reason() -> None:
    table = sample(10).set_column(2, "y", pa.array([float("inf")] + [0.0] * 9))

    class Plain(Small):
        def forward(self, numbers: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
            return numbers[:, 1] - numbers[:, 1]

    [done] = score(table.to_batches(), TorchModel(Plain()), ENCODING)
    assert done.column(REASON)[0].as_py() == "the prediction score is missing or not finite"
    assert done.column(REASON).null_count == 9


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda n: (n[:, 0], n[:, 1]), "returned 2 outputs, and 1 are declared .*: score"),
        (lambda n: n, r"output 'score' has shape \(3, 2\), expected one value a row"),
    ],
)
def test_outputs_that_are_not_those_of_the_spec_are_refused(result, message) -> None:  # type: ignore[no-untyped-def]
    class Other(torch.nn.Module):
        def forward(self, numbers: torch.Tensor, codes: torch.Tensor) -> object:
            return result(numbers)

    with pytest.raises(ModelError, match=message):
        list(score(sample(3).to_batches(), TorchModel(Other()), ENCODING, micro_batch=256))


@pytest.mark.parametrize("kept", [[0, 4], [0]])
@pytest.mark.parametrize("make", [TorchModel, lambda module: DeviceModel(module, "cpu")])
def test_a_model_that_leaves_rows_out_is_refused(make: Callable[..., Any], kept: list[int]) -> None:
    """Of the last five rows, which are filled up to eight, it keeps the first and the last, four
    times: as many as there are. A single one that is kept would fill a lane that is used again.
    """
    before = 8 * LANES
    good = np.append(np.full(before, fill_value=True), np.isin(np.arange(5), kept))
    table = sample(before + 5).set_column(1, "x", pa.array(np.where(good, 1.0, -1e9)))

    class Chosen(torch.nn.Module):
        def forward(self, numbers: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
            return numbers[numbers[:, 0] > -1e6][:, 1]

    batches = table.combine_chunks().to_batches()
    with pytest.raises(ModelError, match=r"has shape \(\d,\) for 8 rows, expected"):
        list(score(batches, make(Chosen()), ENCODING, micro_batch=8))


def test_an_empty_batch_gives_an_empty_batch() -> None:
    [done] = score([sample(1).to_batches()[0].slice(1)], TorchModel(Small()), ENCODING)
    assert done.num_rows == 0
    assert done.schema.names == ["score", REASON]


def test_sigmoid_reaches_its_limits_without_a_warning() -> None:
    found = POST["sigmoid"].apply(np.array([-1000.0, 0.0, 1000.0]), 0, ())
    assert found.tolist() == [0.0, 0.5, 1.0]


def test_a_folder_without_pt2_says_how_to_make_one(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ModelError, match=r"holds no \.pt2 file; log the model with"):
        load_torch(str(tmp_path), ENCODING)


def test_a_damaged_pt2_is_named(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "model.pt2").write_bytes(b"not a zip")
    with pytest.raises(ModelError, match=r"model\.pt2 is not a pt2 file that can be read"):
        load_torch(str(tmp_path), ENCODING)


def test_what_a_schema_lacks_is_said_column_by_column() -> None:
    schema = pa.schema([("x", pa.string()), ("word", pa.int64())])
    assert check_columns(ENCODING, schema) == [
        "column 'x' is string, the model wants a number (float32) "
        "(input.cast_text: true reads text as numbers)",
        "column 'y' is missing",
        "column 'word' is int64, the model wants a string "
        "(input.cast: {word: category} makes it one)",
    ]


def test_narrowing_that_the_spec_declares_is_no_loss() -> None:
    schema = pa.schema([("x", pa.float64()), ("y", pa.int64()), ("word", pa.large_string())])
    assert check_columns(ENCODING, schema) == []


@pytest.mark.parametrize(
    ("wanted", "actual", "fits"),
    [
        ("double", pa.int32(), True),
        ("long", pa.float64(), False),
        ("integer", pa.int64(), False),
        ("long", pa.int32(), True),
        ("string", pa.int64(), False),
        ("datetime", pa.timestamp("us", "UTC"), True),
        ("boolean", pa.int8(), False),
    ],
)
def test_a_frame_takes_casts_without_loss_only(
    wanted: str, actual: pa.DataType, fits: bool
) -> None:
    spec = TensorSpec("frame", "frame", "frame", (Feature("v", type=wanted),))
    encoding = Encoding((spec,), (OutputSpec("p"),))
    assert (check_columns(encoding, pa.schema([("v", actual)])) == []) is fits


def test_an_encoding_survives_json_and_refuses_nonsense() -> None:
    assert Encoding.from_json(ENCODING.to_json()) == ENCODING
    with pytest.raises(ModelError, match="can't be read"):
        Encoding.from_json('{"inputs": 3}')
    bare = Encoding((TensorSpec("c", "int64", "category", (Feature("v"),)),), ())
    with pytest.raises(ModelError, match="needs a vocabulary"):
        Encoding.from_json(bare.to_json())


@pytest.mark.parametrize(
    ("dtype", "feature", "said"),
    [
        ("int64", Feature("v", center=5.0), "which are not scaled: center 5.0 and scale 1.0 must"),
        ("int64", Feature("v", scale=2.0), "center 0.0 and scale 2.0 must be 0 and 1"),
        ("bool", Feature("v", fill=0.5), "fill 0.5 a whole number"),
        ("float32", Feature("v", scale=0.0), "scale 0; expected another one"),
        ("float64", Feature("v", fill=0.5, center=5.0, scale=-2.0), ""),
        ("int8", Feature("v", fill=-1.0), ""),
        ("int8", Feature("v", fill=None), ""),
    ],
)
@pytest.mark.parametrize("encoder", ["numeric", "date"])
def test_a_spec_that_its_tensor_can_not_follow_is_refused(
    encoder: str, dtype: Any, feature: Feature, said: str
) -> None:
    feature = replace(feature, part="year" if encoder == "date" else "")
    spec = Encoding((TensorSpec("x", dtype, encoder, (feature,)),), (OutputSpec("p"),)).to_json()
    if not said:
        assert Encoding.from_json(spec).inputs[0].features == (feature,)
        return
    with pytest.raises(ModelError, match=f"input 'x': column 'v': .*{said}"):
        Encoding.from_json(spec)


def test_reading_ahead_keeps_order_and_passes_errors_on() -> None:
    assert list(prefetch(iter(range(100)), depth=3)) == list(range(100))

    def failing():  # type: ignore[no-untyped-def]
        yield 1
        raise KeyError("gone")

    items = prefetch(failing())
    assert next(items) == 1
    with pytest.raises(KeyError, match="gone"):
        next(items)


def test_reading_ahead_never_holds_more_than_its_depth() -> None:
    made = 0

    def items():  # type: ignore[no-untyped-def]
        nonlocal made
        for i in range(1000):
            made = i + 1
            yield i

    stream = prefetch(items(), depth=2)
    next(stream)
    import time

    time.sleep(0.3)
    assert made <= 5
    stream.close()  # type: ignore[attr-defined]


def test_encoding_gives_the_arguments_in_order() -> None:
    encoded = encode(sample(5).to_batches()[0], ENCODING)
    assert [a.shape for a in encoded] == [(5, 2), (5, 1)]  # type: ignore[union-attr]
    assert [str(a.dtype) for a in encoded] == ["float32", "int64"]  # type: ignore[union-attr]
