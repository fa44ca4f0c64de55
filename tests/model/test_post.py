"""What every post-processing keeps: it takes and gives what its entry says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nocturne.encoding import Encoding, OutputSpec
from nocturne.encoding.post import POST, Post
from nocturne.errors import ModelError, choices

ROOT = Path(__file__).parents[2]
LOGITS = np.array([[1.0, 3.0, 2.0], [0.0, 0.0, -1.0]])
ROWS = LOGITS[:, 0]
KNOWN = {
    "none": ROWS,
    "sigmoid": 1 / (1 + np.exp(-ROWS)),
    "softmax": np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True),
    "argmax": [1, 0],
    "top_k": [[1, 2, 0], [0, 1, 2]],
    "top_k_values": -np.sort(-np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True), axis=1),
}
"""Of LOGITS [2, 3], all three of them, where it takes classes; of ROWS [2] where it does not."""


def length(post: Post) -> int:
    return 3 if post.length == "needed" else 0


def fitting_type(post: Post) -> str:
    return "int64" if post.gives == "class" else "float32"


@pytest.mark.parametrize("name", POST)
class TestEveryPostProcessing:
    def test_it_gives_the_known_values(self, name: str) -> None:
        assert name in KNOWN, f"add the values of {name} to this file"
        post = POST[name]
        made = post.apply(LOGITS if post.classes else ROWS, length(post), ())
        np.testing.assert_allclose(made, KNOWN[name], rtol=1e-12)

    def test_a_row_does_not_depend_on_the_rows_around_it(self, name: str) -> None:
        post = POST[name]
        given = LOGITS if post.classes else ROWS
        whole = post.apply(given, length(post), ())
        for row in range(len(given)):
            one = post.apply(given[row : row + 1], length(post), ())
            np.testing.assert_array_equal(one[0], whole[row])

    def test_a_class_may_have_a_name_and_nothing_else_may(self, name: str) -> None:
        post, labels = POST[name], ("x", "y", "z")
        said = post.problem(name, "string", length(post), labels)
        if post.gives == "class":
            assert said == ""
            named = post.apply(LOGITS, length(post), labels)
            assert named.tolist() == np.array(labels)[np.array(KNOWN[name])].tolist()
        else:
            named = " or ".join(n for n, other in POST.items() if other.gives == "class")
            assert said == f"labels belong to {named}, not to {name}"

    def test_it_says_which_length_and_type_contradict_it(self, name: str) -> None:
        post, type_ = POST[name], fitting_type(POST[name])
        assert post.problem(name, type_, length(post), ()) == ""
        assert (post.problem(name, type_, 0, ()) == "") is (post.length != "needed")
        assert (post.problem(name, type_, 3, ()) == "") is (post.length != "none")
        assert (post.problem(name, "bool", length(post), ()) == "") is (post.gives == "any")

    def test_its_output_survives_json(self, name: str) -> None:
        post = POST[name]
        output = OutputSpec("o", name, fitting_type(post), length=length(post))  # type: ignore[arg-type]
        encoding = Encoding((), (output,))
        assert Encoding.from_json(encoding.to_json()) == encoding

    def test_the_documentation_has_it(self, name: str) -> None:
        assert f"| `{name}` |" in (ROOT / "docs" / "engine.md").read_text(encoding="utf-8")


def test_a_post_processing_that_there_is_not_is_refused_with_those_there_are() -> None:
    spec = json.loads(Encoding((), (OutputSpec("o"),)).to_json())
    spec["outputs"][0]["post"] = "rank"
    with pytest.raises(ModelError) as raised:
        Encoding.from_json(json.dumps(spec))
    assert f"post: got 'rank', expected {choices(POST)}" in str(raised.value)
