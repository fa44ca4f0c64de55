"""YAML from outside: what is plain is read, the rest is one clear error, at once."""

from __future__ import annotations

import time
from contextlib import suppress
from itertools import pairwise

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nocturne.errors import ConfigError, ModelError
from nocturne.safe_yaml import load_yaml

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text("abc:{}&*!<>- \n'\"", max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz<", max_size=4), inner)
    ),
    max_leaves=12,
)
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{c}: &{c} [{', '.join([f'*{b}'] * 10)}]\n" for b, c in pairwise("abcdefghi")
)
MERGE_BOMB = "a: &a {k: v}\n" + "".join(
    f"{c}: &{c}\n  <<: [{', '.join([f'*{b}'] * 30)}]\n" for b, c in pairwise("abcdefghi")
)
REFUSED = {
    "nothing": ("", "is empty"),
    "a comment": ("# only this\n", "is empty"),
    "a list": ("- a\n- b\n", "got a list"),
    "a text": ("pipeline", "got a str"),
    "keys that are no text": ("1: a\n", "no text"),
    "a broken line": ("a: [1, 2\nb: }", "not YAML"),
    "a tab": ("a:\n\t- b", "not YAML"),
    "two documents": ("a: 1\n---\nb: 2\n", "not YAML"),
    "bytes that are not UTF-8": (b"a: \xff\xfe\n", "not UTF-8"),
    "a date that is none": ("a: 2013-13-45\n", "not YAML"),
    "a number without end": ("a: " + "9" * 10_000, "not YAML"),
    "a tag without its value": ('a: !!int ""\n', "not YAML"),
    "a tag of another value": ("a: !!bool maybe\n", "not YAML"),
    "a time that is none": ("a: !!timestamp soon\n", "not YAML"),
    "a set in a set": ("a: !!set {b: !!omap c}\n", "not YAML"),
    "a Python tag": ("a: !!python/object/apply:os.system ['exit 3']\n", "python/object"),
    "a Python name": ("a: !!python/name:os.system\n", "python/name"),
    "a key twice": ("a: 1\nb: 2\na: 3\n", "line 3: the key 'a' is there twice"),
    "a key twice below": ("a:\n  - {b: 1, 'b': 2}\n", "the key 'b' is there twice"),
    "a number twice": ("a: {1: x, 0x1: y}\n", "twice"),
    "a key that is a list": ("a: {[1]: x}\n", "key is a list"),
    "an anchor in itself": ("a: &a [*a]\n", "holds itself"),
    "a mapping in itself": ("a: &a {b: *a}\n", "holds itself"),
    "an anchor that is missing": ("a: *b\n", "undefined alias"),
    "an alias bomb": (BOMB, "more than 200,000 values"),
    "a merge bomb": (MERGE_BOMB, "more than 200,000 values"),
    "deep lists": ("a: " + "[" * 100_000, "nested more than 64 deep"),
    "deep mappings": ("a: " + "{a: " * 100_000, "nested more than 64 deep"),
    "deep lines": ("\n".join(" " * i + "a:" for i in range(1000)), "nested more than 64 deep"),
    "a number to the base of 60": ("a: 1" + ":1" * 80_000, "more than 100 characters"),
    "such a fraction": ("a: 1" + ":1" * 80_000 + ".5", "more than 100 characters"),
    "such a key": ("? 1" + ":1" * 80_000 + "\n: a\n", "more than 100 characters"),
    "a text that is to be one": ("a: !!int '1" + ":1" * 80_000 + "'", "more than 100 characters"),
    "a long hexadecimal number": ("a: 0x" + "f" * 5000, "more than 100 characters"),
    "an integer of 65 bits": ("a: 0x1ffffffffffffffff", "line 1: an integer of more than 64 bits"),
    "a binary one": ("a: -0b1" + "0" * 64, "more than 64 bits"),
    "many bytes": ("a: " + "x" * (5 << 20), "at most 4,194,304"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_plain_is_refused_in_one_line_and_at_once(name: str) -> None:
    text, why = REFUSED[name]
    started = time.monotonic()
    with pytest.raises(ConfigError, match=why) as caught:
        load_yaml(text, "conf/base.yaml")
    assert str(caught.value).startswith("conf/base.yaml")
    assert time.monotonic() - started < 5


def test_the_error_is_of_the_kind_that_the_reader_asks_for() -> None:
    with pytest.raises(ModelError, match="MLmodel is empty"):
        load_yaml("", "MLmodel", ModelError)


def test_numbers_that_people_write_are_read() -> None:
    text = "a: 0xffffffffffffffff\nb: -9223372036854775808\nc: 1:30:00\nd: 1.5e-300\n"
    assert load_yaml(text + f"e: '{'9' * 200}'\n", "x") == {
        "a": 2**64 - 1,
        "b": -(2**63),
        "c": 5400,
        "d": 1.5e-300,
        "e": "9" * 200,
    }


def test_anchors_and_merges_that_people_write_are_read() -> None:
    text = "base: &base {a: 1, b: 2}\nnight: {<<: *base, b: 3}\nlist: [*base, *base]\n"
    found = load_yaml(text, "x")
    assert found["night"] == {"a": 1, "b": 3}
    assert found["list"] == [{"a": 1, "b": 2}] * 2


@settings(max_examples=40)
@given(st.dictionaries(st.text("abcxyz<", max_size=4), PLAIN, min_size=1))
def test_what_yaml_writes_is_read_as_it_was(value: dict[str, object]) -> None:
    assert load_yaml(yaml.safe_dump(value), "x") == value


@given(st.text("ab:{}[]&*!<>-?|%@` \n\t'\"#,0123.", max_size=60) | st.binary(max_size=40))
def test_any_text_is_a_mapping_or_the_readers_error(text: str | bytes) -> None:
    with suppress(ConfigError):
        assert isinstance(load_yaml(text, "x"), dict)
