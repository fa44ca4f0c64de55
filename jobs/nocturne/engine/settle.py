"""Fixes the names, types and lengths of the outputs by what a trial of the model returned."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from nocturne.encoding import OUTPUT_WORDS, OutputSpec, OutputType, named_outputs
from nocturne.engine.column import stacked
from nocturne.engine.convert import absent, convert
from nocturne.engine.model import Array, Raw
from nocturne.engine.outputs import by_name, numbered, outputs_by_name
from nocturne.errors import ModelError, choices

__all__ = ["check_outputs", "settle_outputs"]


def settle_outputs(
    declared: Sequence[OutputSpec], returned: Raw, *, firm: bool
) -> tuple[OutputSpec, ...]:
    """The outputs of a model that returned ``returned`` for some rows.

    A declared type or length that does not hold the returned values is widened, unless it is
    ``firm``: then the user declared it. What is not declared is taken from the values.

    Raises:
        ModelError: the values do not match the declaration, or can't be published.
    """
    outputs = _matched(declared, returned)
    if firm:
        check_outputs(outputs, returned)
    return tuple(_widened(o, v, firm=firm) for o, v in _pairs(outputs, returned))


def check_outputs(outputs: Sequence[OutputSpec], returned: Raw) -> None:
    """Check that the columns can hold the returned values, unless these are post-processed first.

    Raises:
        ModelError: a column can't hold them.
    """
    for output, values in _pairs(outputs, returned):
        if output.post != "none":
            continue
        length, flat = _shape(output, values)
        if length != output.length or not _allowed(output, _present(flat)):
            own = _widened(replace(output, type="any", length=0), values, firm=False)
            raise ModelError(
                f"the model returned what is {own.words} for the output {output.name!r}, which is "
                f"said to be {output.words}, and does not hold it; say {own.words} there"
            )


def _matched(declared: Sequence[OutputSpec], returned: Raw) -> tuple[OutputSpec, ...]:
    """The declared outputs. If the model names its outputs, each gets the name as its source, so
    that it is made from the same output in every batch.

    Raises:
        ModelError: the model returned other outputs.
    """
    by_output = outputs_by_name(returned)
    if not any(output.name for output in declared):
        specs = (
            declared
            if len(declared) == len(by_output)
            else [OutputSpec("", type="any")] * len(by_output)
        )
        own = [""] * len(by_output) if numbered(by_output) else list(by_output)
        outputs = named_outputs([replace(o, name=n) for o, n in zip(specs, own, strict=True)])
        if not outputs:
            raise ModelError("the model returned no output; expected a value a row")
    elif by_name(by_output, declared):
        lacking = [n for n in (o.source or o.name for o in declared) if n not in by_output]
        if lacking:
            raise _mismatch(declared, returned)
        is_named = isinstance(returned, Mapping)
        return tuple(replace(o, source=o.source or o.name) if is_named else o for o in declared)
    elif len(declared) == len(by_output) and not {o.name for o in declared} & by_output.keys():
        outputs = tuple(declared)
    else:
        raise _mismatch(declared, returned)
    if not isinstance(returned, Mapping):
        return outputs
    return tuple(replace(o, source=name) for o, name in zip(outputs, by_output, strict=True))


def _pairs(outputs: Sequence[OutputSpec], returned: Raw) -> list[tuple[OutputSpec, Array]]:
    """Each output with the values that it is made from."""
    by_output = outputs_by_name(returned)
    if by_name(by_output, outputs):
        return [(output, by_output[output.source or output.name]) for output in outputs]
    return list(zip(outputs, by_output.values(), strict=True))


def _mismatch(declared: Sequence[OutputSpec], returned: Raw) -> ModelError:
    own = settle_outputs((), returned, firm=False)
    says = ", ".join(f"{o.name}: {o.words}" for o in own)
    return ModelError(
        f"the model returned the outputs {choices(o.name for o in own)}; its signature or the YAML "
        f"names {choices(o.source or o.name for o in declared)}. Log it with the signature of what "
        f"it returns, or name what it returns in the YAML, model.outputs: {{{says}}}"
    )


def _widened(output: OutputSpec, values: Array, *, firm: bool) -> OutputSpec:
    length, flat = _shape(output, values)
    if firm and not output.type.startswith("timestamp"):
        return output
    return replace(output, length=length or output.length, type=_type(output, flat))


def _shape(output: OutputSpec, values: Array) -> tuple[int, Array]:
    """The length of a row's vector (0 for a single value), and all values [n].

    Raises:
        ModelError: the rows have vectors of different lengths, or more than a vector.
    """
    if values.ndim == 1 and values.dtype == object:
        lengths = {len(v) for v in values if isinstance(v, (list, tuple, np.ndarray))}
        if len(lengths) > 1:
            raise ModelError(
                f"the model returned vectors of {min(lengths)} to {max(lengths)} values for the "
                f"output {output.name!r}; expected the same number in each row: have it pad them"
            )
        if lengths:
            length = lengths.pop()
            return length, stacked(values, length).reshape(-1)
    if values.ndim > 2:
        raise ModelError(
            f"the model returned the shape {values.shape} for the output {output.name!r}; expected "
            "a value a row, or a vector of them: have it flatten them"
        )
    wide = values.ndim == 2 and (values.shape[1] > 1 or output.length == 1)
    return (values.shape[1] if wide else 0), values.reshape(-1)


def _type(output: OutputSpec, values: Array) -> OutputType:
    """The declared type if it holds the values, else the narrowest type that does.

    Raises:
        ModelError: no type holds the values, or there are no values and no type is declared.
    """
    present = _present(values)
    if output.type != "any" and _holds(output.type, present):
        return output.type
    if not len(present):
        raise ModelError(
            f"the model returned only nulls, NaN or infinite values for the output {output.name!r},"
            f" so nothing says its type; say it in the YAML, model.outputs: {{{output.name}: "
            "double}"
        )
    own = next((type_ for type_ in _own(present) if _holds(type_, present)), None)
    if own is None:
        kinds = {type(value).__name__ for value in present.tolist()}
        if kinds <= {"int", "float"}:
            raise ModelError(
                f"the model returned integers for the output {output.name!r} that no column holds: "
                "beyond 64 bits, or among floats and not exact in one (beyond 2**53); have it "
                "return text, or floats"
            )
        hint = (
            ". Where it returns several outputs, name those that are wanted in model.outputs"
            if "dict" in kinds
            else ""
        )
        raise ModelError(
            f"the model returned values of the types {choices(kinds)} for the output "
            f"{output.name!r}, which no column holds; expected values of one type: "
            f"{choices(OUTPUT_WORDS)}, or a vector{hint}"
        )
    return own


def _allowed(output: OutputSpec, values: Array) -> bool:
    """Whether the type accepts the values. ``datetime`` accepts every unit and zone; a float32
    that is declared may round."""
    types = (*_TIMES, *_MOMENTS) if output.type.startswith("timestamp") else (output.type,)
    return any(convert(values, type_).strange is None for type_ in types)


def _present(values: Array) -> Array:
    """The values without nulls and infinite values, which are predictions in no type."""
    gone = absent(values)
    present = values if gone is None else values[~gone]
    return present[np.isfinite(present)] if present.dtype.kind == "f" else present


def _holds(type_: OutputType, values: Array) -> bool:
    """Whether the type holds the values. A float32 holds no float64: it would round later ones."""
    if type_ == "float32" and (
        any(isinstance(value, float) for value in values)
        if values.dtype == object
        else values.dtype.kind == "f" and values.dtype.itemsize > 4
    ):
        return False
    return convert(values, type_).strange is None


_TIMES: tuple[OutputType, ...] = ("timestamp[us]", "timestamp[ns]")
_MOMENTS: tuple[OutputType, ...] = ("timestamp[us, UTC]", "timestamp[ns, UTC]")


def _own(values: Array) -> tuple[OutputType, ...]:
    """The types that may hold the values (without nulls), narrowest first."""
    kinds: dict[str, tuple[OutputType, ...]] = {
        "b": ("bool",),
        "i": ("int64",),
        "u": ("int64",),
        "f": ("float64",),
        "U": ("string",),
        "M": ("date32", *_TIMES) if values.dtype == np.dtype("datetime64[D]") else _TIMES,
    }
    return kinds.get(values.dtype.kind, _of_objects(values) if values.dtype == object else ())


def _of_objects(values: Array) -> tuple[OutputType, ...]:
    families: dict[tuple[type, ...], tuple[OutputType, ...]] = {
        (bool, np.bool_): ("bool",),
        (int, np.integer): ("int64",),
        (int, float, np.integer, np.floating): ("float64",),
        (str,): ("string",),
        (dt.datetime,): (*_TIMES, *_MOMENTS),
        (dt.date,): ("date32",),
    }
    for family, types in families.items():
        if all(isinstance(value, family) for value in values):
            return types
    return ()
