"""What a trial of a model fixes: names, types and lengths of the outputs that it is scored with."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from nocturne.encoding import OUTPUT_WORDS, OutputSpec, OutputType, named_outputs
from nocturne.engine.column import stacked
from nocturne.engine.convert import absent, convert
from nocturne.engine.model import Array, Raw
from nocturne.engine.outputs import by_name, named, numbered
from nocturne.errors import ModelError, choices

__all__ = ["required", "settled"]


def settled(declared: Sequence[OutputSpec], came: Raw, *, firm: bool) -> tuple[OutputSpec, ...]:
    """The outputs of a model that returned ``came`` for some rows.

    Types and lengths that are declared count as far as they hold what came: one that does not is
    widened. What is not said is as it came. What is ``firm``, the user's word, is not widened.

    Raises:
        ModelError: what came is not what is declared, or can't be published.
    """
    outputs = _matched(declared, came)
    if firm:
        required(outputs, came)
    return tuple(_widened(o, v, firm=firm) for o, v in _pairs(outputs, came))


def required(outputs: Sequence[OutputSpec], came: Raw) -> None:
    """Check that the columns can hold what came, as far as it is not processed first.

    Raises:
        ModelError: one can't.
    """
    for output, values in _pairs(outputs, came):
        if output.post != "none":
            continue
        length, flat = _shape(output, values)
        if length != output.length or not _allowed(output, _there(flat)):
            own = _widened(replace(output, type="any", length=0), values, firm=False)
            raise ModelError(
                f"the model returned what is {own.words} for the output {output.name!r}, which is "
                f"said to be {output.words}, and does not hold it; say {own.words} there"
            )


def _matched(declared: Sequence[OutputSpec], came: Raw) -> tuple[OutputSpec, ...]:
    """What is declared, each output with the one that it is made of as its source, where the
    model names its outputs: so it stays the same one, whatever comes with it or for it.

    Raises:
        ModelError: there are others.
    """
    found = named(came)
    if not any(output.name for output in declared):
        said = (
            declared if len(declared) == len(found) else [OutputSpec("", type="any")] * len(found)
        )
        own = [""] * len(found) if numbered(found) else list(found)
        outputs = named_outputs([replace(o, name=n) for o, n in zip(said, own, strict=True)])
        if not outputs:
            raise ModelError("the model returned no output; expected a value a row")
    elif by_name(found, declared):
        lacking = [n for n in (o.source or o.name for o in declared) if n not in found]
        if lacking:
            raise _other(declared, came)
        kept = isinstance(came, Mapping)
        return tuple(replace(o, source=o.source or o.name) if kept else o for o in declared)
    elif len(declared) == len(found) and not {o.name for o in declared} & found.keys():
        outputs = tuple(declared)
    else:
        raise _other(declared, came)
    if not isinstance(came, Mapping):
        return outputs
    return tuple(replace(o, source=name) for o, name in zip(outputs, found, strict=True))


def _pairs(outputs: Sequence[OutputSpec], came: Raw) -> list[tuple[OutputSpec, Array]]:
    """Each output with what it is made of."""
    found = named(came)
    if by_name(found, outputs):
        return [(output, found[output.source or output.name]) for output in outputs]
    return list(zip(outputs, found.values(), strict=True))


def _other(declared: Sequence[OutputSpec], came: Raw) -> ModelError:
    own = settled((), came, firm=False)
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
    """The length of a vector, or 0, and all the values [n].

    Raises:
        ModelError: a row has no vector of the same length, or more than that.
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
    """The declared type, if it holds the values, else their own.

    Raises:
        ModelError: no type holds them, or there is none, and none is declared.
    """
    there = _there(values)
    if output.type != "any" and _holds(output.type, there):
        return output.type
    if not len(there):
        raise ModelError(
            f"the model returned only nulls, NaN or infinite values for the output {output.name!r},"
            f" so nothing says its type; say it in the YAML, model.outputs: {{{output.name}: "
            "double}"
        )
    own = next((type_ for type_ in _own(there) if _holds(type_, there)), None)
    if own is None:
        kinds = {type(value).__name__ for value in there.tolist()}
        if kinds <= {"int", "float"}:
            raise ModelError(
                f"the model returned integers for the output {output.name!r} that no column holds: "
                "beyond 64 bits, or among floats and not exact in one (beyond 2**53); have it "
                "return text, or floats"
            )
        wanted = (
            ". Where it returns several outputs, name those that are wanted in model.outputs"
            if "dict" in kinds
            else ""
        )
        raise ModelError(
            f"the model returned values of the types {choices(kinds)} for the output "
            f"{output.name!r}, which no column holds; expected values of one type: "
            f"{choices(OUTPUT_WORDS)}, or a vector{wanted}"
        )
    return own


def _allowed(output: OutputSpec, values: Array) -> bool:
    """``datetime`` says no unit and no zone; a declared float32 says that it rounds."""
    types = (*_TIMES, *_MOMENTS) if output.type.startswith("timestamp") else (output.type,)
    return any(convert(values, type_).strange is None for type_ in types)


def _there(values: Array) -> Array:
    """Without nulls and infinite values, which no type makes predictions of."""
    gone = absent(values)
    there = values if gone is None else values[~gone]
    return there[np.isfinite(there)] if there.dtype.kind == "f" else there


def _holds(type_: OutputType, values: Array) -> bool:
    """A float32 holds no float64: other ones than those that came would be rounded by it."""
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
    """The types that may hold the values (no nulls), the narrowest first."""
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
