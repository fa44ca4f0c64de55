"""What a pyfunc model may return: arrays by name, or in their order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from scipy import sparse

from nocturne.encoding import OutputSpec
from nocturne.errors import ModelError
from nocturne.pyfunc.returned import arrays, several

THREE = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
GROUPED = pd.DataFrame({"city": ["b", "a", "b"], "a": [1, 2, 3]})


def _listed(found: Any) -> Any:
    if isinstance(found, dict):
        return {name: values.tolist() for name, values in found.items()}
    return [values.tolist() for values in found]


class Polars:
    """As a frame of polars is converted."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def to_arrow(self) -> pa.Table:
        return self.table

    def to_pandas(self) -> pd.DataFrame:
        return self.table.to_pandas()


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (np.array([1, 2, 3]), [[1, 2, 3]]),
        (THREE, [THREE.tolist()]),
        (sparse.csr_matrix(THREE), [THREE.tolist()]),
        (torch.tensor(THREE), [THREE.tolist()]),
        (torch.tensor([1.0, 2.0, 3.0], dtype=torch.bfloat16), [[1.0, 2.0, 3.0]]),
        ([1, 2, 3], [[1, 2, 3]]),
        ((1, 2, 3), [[1, 2, 3]]),
        (["a", "b", None], [["a", "b", None]]),
        ([[0.0, 1.0], [2, 3], [4.0, 5.0]], [THREE.tolist()]),
        ([torch.tensor(row) for row in THREE], [THREE.tolist()]),
        (pd.Series([1, 2, 3], name="label"), [[1, 2, 3]]),
        (pd.Series([1, None, 3], dtype="Int64"), [[1, None, 3]]),
        (pd.Series([True, None, False], dtype="boolean"), [[True, None, False]]),
        (pd.Series(["a", None, "b"], dtype="category"), [["a", None, "b"]]),
        (pd.Series(["a", None, "b"], dtype="string"), [["a", None, "b"]]),
        (
            pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]}),
            {"a": [1, 2, 3], "b": ["x", "y", "z"]},
        ),
        (pd.DataFrame({"v": [[1, 2], [3, 4], [5, 6]]}), {"v": [[1, 2], [3, 4], [5, 6]]}),
        (pd.DataFrame(THREE), [THREE.tolist()]),
        (pd.DataFrame({0: [1, 2, 3], 1: ["x", "y", "z"]}), [[1, 2, 3], ["x", "y", "z"]]),
        (pa.table({"a": [1, 2, 3]}), {"a": [1, 2, 3]}),
        (pa.table({"a": [2**53 + 1, None, 3]}), {"a": [2**53 + 1, None, 3]}),
        (pa.array([2**53 + 1, None, 3]), [[2**53 + 1, None, 3]]),
        (pa.chunked_array([[2**53 + 1], [None, 3]]), [[2**53 + 1, None, 3]]),
        (pa.array([[2**53 + 1, 0], [2, None], [3, 4]]), [[[2**53 + 1, 0], [2, None], [3, 4]]]),
        ({"a": pa.array([True, None, False])}, {"a": [True, None, False]}),
        (Polars(pa.table({"a": [2**53 + 1, None, 3]})), {"a": [2**53 + 1, None, 3]}),
        (np.array(["a", "b", ""], dtype=np.dtypes.StringDType()), [["a", "b", ""]]),
        (pd.DataFrame({0: [1, 2, 3], 1: [0.5, 1.5, 2.5]}), [[[1, 0.5], [2, 1.5], [3, 2.5]]]),
        (
            pd.DataFrame({0: [2**53 + 1, 2, 3], 1: [0.5] * 3}),
            [[[2**53 + 1, 0.5], [2, 0.5], [3, 0.5]]],
        ),
        (
            pd.DataFrame({0: [1.0, float("inf"), 3.0], 1: [0.5] * 3}),
            [[[1.0, 0.5], [float("inf"), 0.5], [3.0, 0.5]]],
        ),
        ({"a": np.array([1, 2, 3]), "b": THREE}, {"a": [1, 2, 3], "b": THREE.tolist()}),
        (
            [{"a": 1, "b": "x"}, {"a": 2}, {"a": 3, "b": "z"}],
            {"a": [1, 2, 3], "b": ["x", None, "z"]},
        ),
        ((np.array([1, 2, 3]), THREE), {"0": [1, 2, 3], "1": THREE.tolist()}),
        ([THREE, THREE], {"0": THREE.tolist(), "1": THREE.tolist()}),
        (pd.Series([3, 1, 2], index=[2, 0, 1]), [[1, 2, 3]]),
        (pd.DataFrame({"a": [3, 1, 2]}, index=[2, 0, 1]), {"a": [1, 2, 3]}),
        ({"a": pd.Series([3, 1, 2], index=pd.Index([2, 0, 1], dtype="Int64"))}, {"a": [1, 2, 3]}),
        (pd.Series([3, 1, 2], index=[2.0, 0.0, 1.0]), [[1, 2, 3]]),
        (GROUPED.groupby("city")[["a"]].apply(lambda group: group * 1), {"a": [1, 2, 3]}),
        (pd.Series([3, 1, 2], index=[[2, 0, 1], [0, 0, 1]]), [[1, 2, 3]]),
        (pd.Series([3, 1, 2], index=[[2, 0, 1], [0, 1, 2]]), [[3, 1, 2]]),
        (pd.Series([3, 1, 2], index=[2.0, 0.0, 0.5]), [[3, 1, 2]]),
        (pd.Series([3, 1, 2], index=[1.0, 0.0, None]), [[3, 1, 2]]),
        (pd.Series([3, 1, 2], index=[3, 1, 2]), [[3, 1, 2]]),
        (pd.Series([3, 1, 2], index=[1, 0, 0]), [[3, 1, 2]]),
        (pd.Series([3, 1, 2], index=["2", "0", "1"]), [[3, 1, 2]]),
        (pd.DataFrame(THREE[:, ::-1], columns=[1, 0]), [THREE.tolist()]),
        (pd.DataFrame(THREE, columns=[1, 2]), {"1": [0.0, 2.0, 4.0], "2": [1.0, 3.0, 5.0]}),
        (
            pd.DataFrame(THREE, columns=["2023", "2024"]),
            {"2023": [0.0, 2.0, 4.0], "2024": [1.0, 3.0, 5.0]},
        ),
        (np.matrix([[1], [2], [3]]), [[[1], [2], [3]]]),
        ([-1, 2**63, 2**53 + 1], [[-1, 2**63, 2**53 + 1]]),
        ([[-1, 2**63], [2**53 + 1, 0.5], [1, 2]], [[[-1, 2**63], [2**53 + 1, 0.5], [1, 2]]]),
        ([("hi", 1 / 3), ("lo", None), (None, 0.5)], [["hi", "lo", None], [1 / 3, None, 0.5]]),
        ([(True, 2**53 + 1, 0.5)] * 3, [[True] * 3, [2**53 + 1] * 3, [0.5] * 3]),
        (np.array([["hi", 1.0]] * 3, dtype=object), [["hi"] * 3, [1.0] * 3]),
        ([[None, 1.0], [2, 0.5], [3, 1.5]], [[[None, 1.0], [2, 0.5], [3, 1.5]]]),
        (
            np.array([(1, 0.5), (2, 1.5), (3, 2.5)], dtype=[("a", int), ("b", float)]),
            {"a": [1, 2, 3], "b": [0.5, 1.5, 2.5]},
        ),
    ],
)
def test_results_of_three_rows(result: Any, expected: Any) -> None:
    assert _listed(arrays(result, 3)) == expected


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (0.5, [[0.5]]),
        ("came", [["came"]]),
        (np.float64(0.5), [[0.5]]),
        (np.array(0.5), [[0.5]]),
        (np.array([1.0, 2.0]), [[[1.0, 2.0]]]),
        ({"a": 1, "b": "x"}, {"a": [1], "b": ["x"]}),
        ((np.array([1]), np.array([[2.0, 3.0]])), {"0": [1], "1": [[2.0, 3.0]]}),
        ([np.array([1.0, 2.0])], [[[1.0, 2.0]]]),
        (("hi", 0.5), [["hi"], [0.5]]),
    ],
)
def test_results_of_one_row(result: Any, expected: Any) -> None:
    assert _listed(arrays(result, 1)) == expected


@pytest.mark.parametrize(
    "result_of",
    [
        lambda buffer: buffer[:, 0],
        lambda buffer: buffer,
        lambda buffer: pd.DataFrame(buffer, columns=["p", "q"], copy=False),
        lambda buffer: {"p": pd.Series(buffer[:, 0], copy=False)},
        lambda buffer: (buffer[:, 0], torch.from_numpy(buffer)),
        lambda buffer: [buffer[0], None, buffer[2]],
        lambda buffer: [buffer[0], buffer[1, :1], buffer[2]],
    ],
)
def test_what_a_model_writes_into_its_result_later_changes_no_output(
    result_of: Callable[[Any], Any],
) -> None:
    """As a model does that fills the same array in every call."""
    buffer = THREE.copy()
    found = arrays(result_of(buffer), 3)
    before = repr(found)
    buffer[:] = -1
    assert repr(found) == before


def test_a_matrix_is_as_many_columns_as_are_asked_for() -> None:
    two = [OutputSpec("a"), OutputSpec("b")]
    assert _listed(arrays(THREE, 3, two)) == [[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]
    assert _listed(arrays(pd.DataFrame(THREE), 3, two)) == [[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]
    assert _listed(arrays(THREE, 3, [], ["p_no", "p_yes"]))["p_yes"] == [1.0, 3.0, 5.0]


def test_as_many_outputs_as_rows_are_what_a_trial_of_more_rows_found() -> None:
    result = [np.array([1, 2]), np.array([3, 4])]
    assert _listed(arrays(result, 2)) == [[[1, 2], [3, 4]]]
    several = [OutputSpec("a", source="0"), OutputSpec("b", source="1")]
    assert _listed(arrays(result, 2, several)) == {"0": [1, 2], "1": [3, 4]}


def test_as_many_items_as_rows_are_what_they_were_for_other_rows() -> None:
    rows = ((1, 2), (3, 4))
    items: Any
    outputs, lists = (np.array([1, 3]), np.array([2, 4])), ([1, 3], [2, 4])
    two = [OutputSpec("p"), OutputSpec("q")]
    for items in (rows, list(rows), [list(row) for row in rows]):
        assert _listed(arrays(items, 2, two)) == [[1, 3], [2, 4]]
    for items in (outputs, lists):
        assert _listed(arrays(items, 2, two, before=True)) == {"0": [1, 3], "1": [2, 4]}
        assert _listed(arrays(items, 2, two, before=False)) == [[1, 2], [3, 4]]
        for declared in (two, []):
            with pytest.raises(ModelError, match="of 2 items for 2 rows, which may be an output"):
                arrays(items, 2, declared)
    assert [several(rows, count) for count in (1, 2)] == [False, None]
    assert several(outputs, 2) is None
    assert several(((1, 2, 3), (4, 5, 6)), 3) is True


def test_probabilities_go_by_the_name_of_their_class() -> None:
    classes = ["probability_down", "probability_up"]
    said = [OutputSpec("up"), OutputSpec("down")]
    assert _listed(arrays(THREE, 3, said, classes)) == {
        "down": [0.0, 2.0, 4.0],
        "up": [1.0, 3.0, 5.0],
    }
    other = [OutputSpec("up"), OutputSpec("other")]
    assert [*arrays(THREE, 3, other, classes)] == classes


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (0.5, "returned one float for 3 rows; expected a value a row"),
        (None, "returned one None for 3 rows"),
        ("came", "returned one str for 3 rows"),
        ({"a": {"b": 1}}, "returned one dict for 3 rows"),
        (pd.DataFrame([[1, 2]] * 3, columns=["a", "a"]), "more than one column of the name a"),
    ],
)
def test_what_has_no_value_a_row_is_refused(result: Any, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        arrays(result, 3)
