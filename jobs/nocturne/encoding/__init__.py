"""The encoding spec: which columns become which tensors. It is data, logged with the model.

A *tensor* has a name (the order is the order of the model's arguments), a dtype, an
encoder (``nocturne.encoders``), and the features that fill it, one column of the tensor each.

Beside them a pyfunc model may be given ``params``, the same ones with every row.

The *outputs* are the prediction columns, each made from one of the model's outputs by a
post-processing (``nocturne.encoding.post``).

A pyfunc model's signature may leave the name and the type of an output open; a trial fixes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import pyarrow as pa

from nocturne.codec import dump, load
from nocturne.encoders import ENCODERS
from nocturne.encoders.spec import FRAME_TYPES, WHOLE, Dtype, Feature, TensorSpec
from nocturne.encoding.post import POST
from nocturne.errors import ConfigError, ModelError, choices

__all__ = [
    "ENCODING_FILE",
    "FRAME_TYPES",
    "MODEL_VERSION",
    "NUMBERS",
    "OUTPUT_TYPES",
    "OUTPUT_WORDS",
    "WHOLE",
    "Dtype",
    "Encoding",
    "Feature",
    "OutputSpec",
    "OutputType",
    "TensorSpec",
    "named_outputs",
    "output_of",
    "with_nulls",
]

ENCODING_FILE = "encoding.json"
MODEL_VERSION = "model_version"
"""The published column that says which version of the model scored a row."""

NUMBERS = ("float32", "float64")
"""Types of outputs that are numbers with a fraction, such as scores."""

OutputType = Literal[
    "float32",
    "float64",
    "int64",
    "bool",
    "string",
    "date32",
    "timestamp[us]",
    "timestamp[ns]",
    "timestamp[us, UTC]",
    "timestamp[ns, UTC]",
    "any",
]
"""Of a prediction column, or of a vector's items; ``any``: not said, so float64 without a trial."""

OUTPUT_TYPES: dict[OutputType, pa.DataType] = {
    "float32": pa.float32(),
    "float64": pa.float64(),
    "int64": pa.int64(),
    "bool": pa.bool_(),
    "string": pa.string(),
    "date32": pa.date32(),
    "timestamp[us]": pa.timestamp("us"),
    "timestamp[ns]": pa.timestamp("ns"),
    "timestamp[us, UTC]": pa.timestamp("us", "UTC"),
    "timestamp[ns, UTC]": pa.timestamp("ns", "UTC"),
    "any": pa.float64(),
}

OUTPUT_WORDS: dict[str, OutputType] = {
    "boolean": "bool",
    "integer": "int64",
    "long": "int64",
    "float": "float32",
    "double": "float64",
    "string": "string",
    "date": "date32",
    "datetime": "timestamp[us]",
}
"""MLflow's words for the types of outputs, and ``date``."""

_MANY = 10_000
"""Words. To hash so many takes Arrow longer than to look up a batch."""

_TYPE = re.compile(r"(?P<word>\w+)(\[(?P<length>[1-9]\d{0,5})\])?")


@dataclass(frozen=True)
class OutputSpec:
    """One prediction column: its name, its post-processing (of ``POST``), its Arrow type.

    ``source`` is the model's output that it is made from: a name, or a position as text.
    Empty: the output of the same name if the model names its outputs, else the one at the
    column's own position. ``length``: 0 for one value a row, else a vector of that many.
    ``nullable``: a row without this prediction has a null, and is not quarantined.
    """

    name: str
    post: str = "none"
    type: OutputType = "float32"
    source: str = ""
    length: int = 0
    labels: tuple[str, ...] = ()
    nullable: bool = False

    @property
    def arrow_type(self) -> pa.DataType:
        """The column's type: ``type``, or a list of it; of a fixed size where none is null, since
        Arrow can't read those from Parquet (25.0).
        """
        value = OUTPUT_TYPES[self.type]
        if not self.length:
            return value
        return pa.list_(value) if self.nullable else pa.list_(value, self.length)

    @property
    def words(self) -> str:
        """The type as ``model.outputs`` says it: ``double``, ``float[384]``."""
        word = next((w for w, t in reversed(OUTPUT_WORDS.items()) if t == self.type), "datetime")
        word = "double" if self.type == "any" else word
        return f"{word}[{self.length}]" if self.length else word

    def problem(self) -> str:
        """What contradicts itself in this spec, in words; empty if nothing does."""
        return POST[self.post].problem(self.post, self.type, self.length, self.labels)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Called by pydantic when its adapter is made: reading one checks its post-processing."""
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(_check_post, handler(source))


def _check_post(output: OutputSpec) -> OutputSpec:
    """Raises: ValueError where there is no such post-processing."""
    if output.post not in POST:
        raise ValueError(f"post: got {output.post!r}, expected {choices(POST)}")
    return output


@dataclass(frozen=True)
class Encoding:
    """What the model takes and gives."""

    mend: ClassVar[str] = "Correct it, or log the model again with the spec that it was trained on"
    """What to do if its file is damaged (``nocturne.codec``)."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[OutputSpec, ...]
    params: dict[str, Any] = field(default_factory=dict)

    def features(self) -> Iterator[tuple[TensorSpec, Feature]]:
        """Every feature with the tensor it goes to."""
        for tensor in self.inputs:
            for feature in tensor.features:
                yield tensor, feature

    @property
    def columns(self) -> tuple[str, ...]:
        """The input columns, each once, in the order of first use."""
        return tuple(dict.fromkeys(feature.column for _, feature in self.features()))

    @property
    def output_names(self) -> tuple[str, ...]:
        """The prediction columns."""
        return tuple(output.name for output in self.outputs)

    @property
    def numbers(self) -> tuple[str, ...]:
        """The prediction columns that have one of ``NUMBERS`` a row."""
        return tuple(o.name for o in self.outputs if o.type in NUMBERS and not o.length)

    @property
    def large_vocabularies(self) -> frozenset[str]:
        """The input columns whose words are too many to be looked up anew for each batch."""
        return frozenset(f.column for _, f in self.features() if len(f.vocabulary) >= _MANY)

    @property
    def row_bytes(self) -> int:
        """Bytes of one encoded row: what the batch and the micro-batch are sized by."""
        total = 0
        for tensor, feature in self.features():
            item = 4 if tensor.dtype in ("float32", "int32") else 8
            total += item * max(1, feature.length)
        return max(1, total)

    def to_json(self) -> str:
        """What fields that came later say by default is left out: it is part of run keys.

        It is made once, since vocabularies may have a hundred thousand words.
        """
        return self._json

    @cached_property
    def _json(self) -> str:
        content: dict[str, Any] = {
            "inputs": [
                {
                    **_said(tensor, shape=None),
                    "features": [_said(feature, part="") for feature in tensor.features],
                }
                for tensor in self.inputs
            ],
            "outputs": [_said(output, nullable=False) for output in self.outputs],
        }
        return dump(content | ({"params": self.params} if self.params else {}))

    def complete(self) -> Encoding:
        """With a name and a type for each output, also where the model's signature has none."""
        outputs = self.outputs or (OutputSpec("", type="any"),)
        typed = (replace(o, type="float64") if o.type == "any" else o for o in outputs)
        return replace(self, outputs=named_outputs(tuple(typed)))

    @staticmethod
    def from_json(text: str | bytes, source: str = ENCODING_FILE) -> Encoding:
        """Raises: ModelError if the text is no encoding spec, or contradicts itself."""
        try:
            encoding = load(Encoding, text, source)
        except Exception as error:
            raise ModelError(f"the model's encoding spec can't be read: {error}") from None
        for tensor in encoding.inputs:
            if problem := ENCODERS[tensor.encoder].problem(tensor):
                raise ModelError(f"{source}: input {tensor.name!r}: {problem}")
        for output in encoding.outputs:
            if problem := output.problem():
                raise ModelError(f"{source}: output {output.name!r}: {problem}")
        return encoding


def _said(record: Any, **defaults: Any) -> dict[str, Any]:
    """The record's fields, without those that have their default."""
    return {k: v for k, v in vars(record).items() if k not in defaults or v != defaults[k]}


def named_outputs(outputs: Sequence[OutputSpec]) -> tuple[OutputSpec, ...]:
    """Those without a name are ``prediction``, or by their position ``prediction_0`` and so on."""
    names = (
        ["prediction"] if len(outputs) == 1 else [f"prediction_{i}" for i in range(len(outputs))]
    )
    return tuple(replace(o, name=o.name or n) for o, n in zip(outputs, names, strict=True))


def output_of(name: str, text: str) -> OutputSpec:
    """An output as ``model.outputs`` says it: a word of ``OUTPUT_WORDS``, or ``float[384]``.

    Raises:
        ValueError: it says no type.
    """
    match = _TYPE.fullmatch(text)
    if match is None or match["word"] not in OUTPUT_WORDS:
        raise ValueError(
            f"{name}: {text!r} is no type; expected {', '.join(OUTPUT_WORDS)}, or for a vector the "
            "type of its values and how many, e.g. float[384]"
        )
    return OutputSpec(name, type=OUTPUT_WORDS[match["word"]], length=int(match["length"] or 0))


def with_nulls(
    outputs: Sequence[OutputSpec], nullable: Sequence[str] | None = None
) -> tuple[OutputSpec, ...]:
    """Those that may be null: of None all but the first.

    Raises:
        ConfigError: a name is no output's.
    """
    names = [output.name for output in outputs]
    if unknown := [name for name in nullable or () if name not in names]:
        raise ConfigError(
            f"output.nullable names {choices(unknown)}, which the model does not predict; it "
            f"predicts {choices(names)}"
        )
    may = names[1:] if nullable is None else nullable
    return tuple(replace(output, nullable=output.name in may) for output in outputs)
