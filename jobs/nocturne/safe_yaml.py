"""YAML from outside, read so that it can't run code, hang or be taken for something else.

YAML is more than a mapping of values: a tag may name a Python function, an alias repeats what
came before (nine lines are a billion strings), a list may hold itself, and a key that is there
twice silently means the last. Here the events are looked at first, which builds nothing, and
only what is plain and small is built.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

from nocturne.errors import ConfigError, NocturneError

__all__ = ["load_yaml"]

_MAX_BYTES = 4 << 20
"""Of the text. MLflow's MLmodel of a model with 10,000 columns has 0.7 MiB."""
_MAX_NODES = 200_000
"""Values, with every alias counted as what it stands for."""
_MAX_DEPTH = 64
_MAX_NUMBER = 100
"""Characters of a number: reading 1:1:1:... (to the base of 60) takes the square of its length."""
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_UNREADABLE = (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, OverflowError)
"""What PyYAML raises: besides its own, a date such as 2013-13-45, `!!int ""`, `!!bool maybe`."""
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_yaml(
    text: str | bytes, what: str, error: type[NocturneError] = ConfigError
) -> dict[str, Any]:
    """The mapping that a YAML document holds; an empty document is an error.

    Args:
        what: what is read, for the message: a path, or whose file it is.
        error: the kind of error to raise.

    Raises:
        error: it is empty, no YAML, not UTF-8, holds no mapping of names, has a tag other than
            YAML's own, a key twice, an anchor within itself, an integer of more than 64 bits, or
            is too large or too deep.
    """
    if len(text) > _MAX_BYTES:
        raise error(f"{what} has {len(text):,} bytes, expected at most {_MAX_BYTES:,}")
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        _bound(text)
        found = _built(text)
    except UnicodeDecodeError as caught:
        raise error(f"{what} is not UTF-8 text: {caught}") from None
    except _UNREADABLE as caught:
        raise error(f"{what} is not YAML that can be read: {caught}") from None
    if found is None:
        raise error(f"{what} is empty, expected `key: value` lines")
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        kind = type(found).__name__
        got = "keys that are no text" if isinstance(found, dict) else f"a {kind}"
        raise error(f"{what}: got {got}, expected `key: value` lines")
    return found


def _bound(text: str) -> None:
    """Raises: YAMLError if what the text stands for is too large, too deep or holds itself."""
    sizes: dict[str, int] = {}  # of what each anchor stands for, once it is complete
    open_nodes: list[tuple[str | None, int]] = []  # anchor, and the count before it
    count = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in {anchor for anchor, _ in open_nodes}:
                raise _problem(f"the anchor {event.anchor!r} holds itself", event)
            count += sizes.get(str(event.anchor), 1)  # an unknown one is refused when it is built
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
    """Raises: YAMLError if a mapping has a key twice, as its author sees it (before merges), or
    a number is too long."""
    waiting, seen = [root], set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            _check_number(loader, node)
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        if not isinstance(node, yaml.MappingNode):
            continue
        keys = set[Hashable]()
        for key_node, value_node in node.value:
            waiting.append(value_node)
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
