"""Makes an encoding fit the tensors that a model declares, and reads one from a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast, get_args

from nocturne.encoders.spec import Dtype
from nocturne.encoding import Encoding, OutputSpec, TensorSpec
from nocturne.encoding.post import POST
from nocturne.errors import ConfigError, choices, did_you_mean
from nocturne.model.declared_inputs import Slot
from nocturne.safe_yaml import load_yaml

__all__ = ["fitted", "output_named", "read_encoding"]


def read_encoding(path: Path) -> Encoding:
    """An encoding spec in JSON, as ``encoding.json`` beside a model, or in YAML.

    Raises:
        ConfigError: it can't be read, is not YAML, or has values that JSON does not have.
        ModelError: it is no encoding spec, or contradicts itself.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"encoding: {path} can't be read: {error.strerror}; expected a file such as the "
            "encoding.json of a model",
            path=str(path),
        ) from None
    if path.suffix.lower() != ".json":
        try:
            text = json.dumps(load_yaml(text, str(path))).encode()
        except TypeError as error:  # a date, !!binary, !!set
            raise ConfigError(
                f"encoding: {path} has a value that JSON does not have ({error}); expected text, "
                "numbers, true, false, null, lists and mappings. Quote what is text, such as "
                "'2024-01-01'",
                path=str(path),
            ) from None
    return Encoding.from_json(text, str(path))


def output_named(text: str) -> OutputSpec:
    """An output as ``NAME`` or ``NAME=POST``; its type and length are left open.

    Raises:
        ConfigError: there is no such post-processing, or it needs more than a name.
    """
    name, equals, post = text.partition("=")
    simple = [known for known, made in POST.items() if made.classes != "some"]
    if not name or (equals and post not in simple):
        raise ConfigError(
            f"output: got {text!r}{did_you_mean(post, simple)}, expected NAME, or NAME= and one of "
            f"{choices(simple)}; others are said in a file: --encoding"
        )
    return OutputSpec(name, post=post or "none", type="any")


def fitted(inputs: Sequence[TensorSpec], slots: Sequence[Slot]) -> tuple[TensorSpec, ...]:
    """The tensors with the names and the precision of the model's, if it declares as many.

    Where the names are the model's they are put in its order, otherwise they get its names in
    order. Whether they fit is another question (``nocturne.contract.kinds.shapes``).
    """
    if len(inputs) != len(slots) or not all(slot.shape for slot in slots):
        return tuple(inputs)
    by_name = {tensor.name: tensor for tensor in inputs}
    ordered = [by_name.get(slot.name) for slot in slots]
    pairs = zip(inputs if None in ordered else ordered, slots, strict=True)
    return tuple(
        replace(tensor, name=slot.name, dtype=_precision(tensor.dtype, slot.type))
        for tensor, slot in pairs
        if tensor is not None
    )


def _precision(made: Dtype, wanted: str) -> Dtype:
    """The wanted type, if it is the same kind of number."""
    kinds = ("float", "int")
    same = any(made.startswith(kind) and wanted.startswith(kind) for kind in kinds)
    return cast(Dtype, wanted) if same and wanted in get_args(Dtype) else made
