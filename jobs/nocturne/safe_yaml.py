"""Reads YAML from outside, so that it can't run code, hang or hide a value.

YAML is more than a mapping of values: a tag may name a Python function, an alias repeats an earlier
value (nine lines can stand for a billion strings), a list may contain itself, and of a repeated key
only the last value counts. Here the parser's events are checked first, which builds no objects;
objects are built only from plain and small YAML.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

from nocturne.errors import ConfigError, NocturneError

__all__ = ["load_yaml"]

_MAX_BYTES = 4 << 20
"""The most bytes of a text. The MLmodel file of a model with 10,000 columns has 0.7 MiB."""
_MAX_NODES = 200_000
"""The most values; an alias counts as all values that it repeats."""
_MAX_DEPTH = 64
_MAX_NUMBER = 100
"""The most characters of a number; the time to read 1:1:1:... (base 60) grows with their square."""
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_UNREADABLE = (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, OverflowError)
"""What PyYAML raises: not only YAMLError, but also for 2013-13-45, `!!int ""`, `!!bool maybe`."""
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_yaml(
    text: str | bytes, what: str, error: type[NocturneError] = ConfigError
) -> dict[str, Any]:
    """The mapping in a YAML document; an empty document is an error.

    Args:
        what: the name of the text in messages: a path, or what the file belongs to.
        error: the type of the error to raise.

    Raises:
        error: the text is empty, not UTF-8 or not YAML; it is not a mapping with text as keys; it
            has a tag other than YAML's own, a repeated key, an anchor within itself or an integer
            of more than 64 bits; or it is too large or nested too deeply.
    """
    if len(text) > _MAX_BYTES:
        raise error(f"{what} has {len(text):,} bytes, expected at most {_MAX_BYTES:,}")
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        _bound(text)
        document = _built(text)
    except UnicodeDecodeError as caught:
        raise error(f"{what} is not UTF-8 text: {caught}") from None
    except _UNREADABLE as caught:
        raise error(f"{what} is not YAML that can be read: {caught}") from None
    if document is None:
        raise error(f"{what} is empty, expected `key: value` lines")
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        kind = type(document).__name__
        got = "keys that are no text" if isinstance(document, dict) else f"a {kind}"
        raise error(f"{what}: got {got}, expected `key: value` lines")
    return document


def _bound(text: str) -> None:
    """Raises: YAMLError if the values are too many or nested too deeply, or contain themselves."""
    sizes: dict[str, int] = {}  # anchor -> the number of its values, once it is complete
    open_nodes: list[tuple[str | None, int]] = []  # anchor, and the count of values before it
    count = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in {anchor for anchor, _ in open_nodes}:
                raise _problem(f"the anchor {event.anchor!r} holds itself", event)
            count += sizes.get(str(event.anchor), 1)  # _built refuses an unknown anchor
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, count))
            count += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor is not None:
                sizes[anchor] = count - before
        elif isinstance(event, yaml.ScalarEvent):
            count += 1
            if event.anchor is not None:
                sizes[event.anchor] = 1
        if count > _MAX_NODES:
            raise _problem(
                f"it stands for more than {_MAX_NODES:,} values (aliases repeat others)", event
            )
        if len(open_nodes) > _MAX_DEPTH:
            raise _problem(f"it is nested more than {_MAX_DEPTH} deep", event)


def _built(text: str) -> Any:
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        _check_values(loader, root)
        return loader.construct_document(root)
    finally:
        loader.dispose()


def _check_values(loader: Any, root: yaml.Node) -> None:
    """Raises: YAMLError if a mapping has a repeated key, before merges, or a number is too long."""
    pending, seen = [root], set[int]()
    while pending:
        node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            _check_number(loader, node)
        if isinstance(node, yaml.SequenceNode):
            pending += node.value
        if not isinstance(node, yaml.MappingNode):
            continue
        keys = set[Hashable]()
        for key_node, value_node in node.value:
            pending.append(value_node)
            if not isinstance(key_node, yaml.ScalarNode):
                raise _problem("a key is a list or a mapping, expected text", key_node)
            _check_number(loader, key_node)
            if key_node.tag == "tag:yaml.org,2002:merge":  # `<<: *defaults`
                key = key_node.value
            else:
                key = loader.construct_object(key_node, deep=True)
            if key in keys:
                raise _problem(f"the key {key!r} is there twice; keep one of them", key_node)
            keys.add(key)


def _check_number(loader: Any, node: yaml.ScalarNode) -> None:
    if node.tag not in _NUMBERS:
        return
    if len(node.value) > _MAX_NUMBER:
        raise _problem(
            f"a number of more than {_MAX_NUMBER} characters; quote it if it is text", node
        )
    value = loader.construct_object(node)
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise _problem("an integer of more than 64 bits; quote it if it is text", node)


def _problem(text: str, at: Any) -> yaml.YAMLError:
    return yaml.YAMLError(f"line {at.start_mark.line + 1}: {text}")
