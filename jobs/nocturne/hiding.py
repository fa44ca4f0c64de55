"""Redacts the text of exceptions: removes values of rows from it.

A model, a library or Arrow writes this text and quotes its input: a name, or a whole frame. More
people read reasons and messages than rows, and reasons are counted by their text. So a value of the
row is replaced by the name of its column in angle brackets, and a text that may be a value (a
quoted literal, a number) by ``<text>`` or ``<number>``.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

__all__ = ["cause_of", "encodable", "failed_import", "redacted"]

Values = Mapping[str, Iterable[Any]]
"""Column -> its values in the rows that raised the exception."""

_LINE = 200
"""The most characters of a line that are kept."""
_TEXT, _CANDIDATES = 20_000, 2_000
"""The most characters of an exception's text, and the most texts of the rows, that are searched."""

_MARK = re.compile("\ue000(\\d+)\ue001")
"""Stands for a column while a text is processed; the characters are removed from the text first."""
_WORD = re.compile(r"[^\W_]+")
_TOKEN = re.compile(
    "\ue000\\d+\ue001"
    r"|(?<!\w)(?P<quote>['\"`])(?P<inner>.*?)(?P=quote)(?!\w)"
    r"|(?<!\w)(?P<number>[-+]?\.?\d(?:[\w.+:/-]*\w)?)"
    r"|(?P<cut>[^\W_]+(?:\.\.\.|…))"
    r"|(?P<word>[^\W_]+)"
)
_UNDER = re.compile(r"[\s~-]*\^[\s^~-]*")
"""A line that marks a place in the line of code above it."""
_REPEATED = re.compile(r"(<[^<>]+>)(?:[\s,;]+\1)+")
_DTYPE = re.compile(r"(?i)(u?int|b?float|complex|datetime|timedelta|utf|ascii|latin|sha)\d{1,3}")
_DIMENSIONS = re.compile(r"[1-9]D")
_OF_CODE = re.compile(
    r"(?:builtins|datetime|numpy|pandas|pyarrow|torch)(?:\.\w+)+|[<>=!+*/%&|@~^-]{1,3}"
)
"""Quoted texts that are no values: a library's class, an operator."""
_TYPES = {"DataFrame", "NAType", "NaTType", "NoneType", "Series", "Tensor", "Timestamp", "ndarray"}
_COMMON = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be but by can for from had has have if in into is it its must no not "
        "of on or such than that the then there this to was were when which will with",
    )
)
"""Words that reveal nothing about a row."""


def cause_of(error: BaseException) -> BaseException:
    """The original exception if MLflow has wrapped it, or its text, in an exception of its own."""
    while _is_mlflows(error):
        context = error.__context__
        cause = error.__cause__ or (context if context and str(context) in str(error) else None)
        if cause is None:
            break
        error = cause
    return error


def failed_import(error: BaseException) -> ImportError | None:
    """The ImportError that an exception is, or was raised ``from``; None if there is none."""
    cause: BaseException | None = cause_of(error)
    while cause is not None and not isinstance(cause, ImportError):
        cause = cause.__cause__
    return cause


def encodable(text: object) -> str:
    """The text with characters that can't be encoded (from names of files, say) replaced."""
    return str(text).encode("utf-8", "replace").decode()


def redacted(error: BaseException, values: Values | None = None) -> str:
    """Type and last line of an exception: ``ValueError: could not convert to float: <city>``.

    Args:
        values: of the rows that raised the exception; their words are removed too.
    """
    cause = cause_of(error)
    name = type(cause).__name__[:80]
    try:
        line = _line(cause, values or {})[:_LINE]
    except Exception:  # __str__ may be the model's own code; a row may be too large to search for
        return name
    return f"{name}: {line}" if line else name


def _is_mlflows(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] == "mlflow"


def _line(error: BaseException, values: Values) -> str:
    """The last line with content, without values."""
    names = list(values)
    text = re.sub("[\ue000\ue001]", "", str(error)[-_TEXT:])
    candidates = _candidates(values)
    folded = {form.casefold(): column for form, column in candidates.items()}
    if candidates:
        text = _pattern(candidates).sub(lambda m: _marked(folded.get(m[0].casefold(), -1)), text)
        text = re.sub("(['\"`])(\ue000\\d+\ue001)\\1", r"\2", text)
    line = _last(text)
    if _is_mlflows(error):
        line = line.rpartition("Error: ")[2]
    words = {
        word.casefold(): column
        for text, column in candidates.items()
        for word in _WORD.findall(text)
        if word.casefold() not in _COMMON and not word.isdecimal()
    }
    code = {*names, *_TYPES, str(getattr(error, "name", None))}
    line = _TOKEN.sub(lambda m: _token(m, words, code, " ".join(folded)), line)
    line = _MARK.sub(lambda m: f"<{names[int(m[1])]}>", line)
    return _REPEATED.sub(r"\1", line)


def _last(text: str) -> str:
    """The last line with a letter, a digit or a value; a line of code with its mark is skipped."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    while len(lines) > 2 and _UNDER.fullmatch(lines[-1]):
        del lines[-2:]
    with_content = (x for x in reversed(lines) if "\ue000" in x or any(map(str.isalnum, x)))
    return next(with_content, lines[-1] if lines else "")


def _marked(column: int) -> str:
    return f"\ue000{column}\ue001" if column >= 0 else "<text>"


def _candidates(values: Values) -> dict[str, int]:
    """Texts of the rows that an exception may quote -> the number of their column.

    Raises:
        ValueError: there are too many to search for.
    """
    candidates: dict[str, int] = {}
    for number, column in enumerate(values.values()):
        for value in column:
            for text in _texts(value):
                for form in (text.strip(), repr(text.strip())[1:-1]):
                    if len(form) > 2 or any(map(str.isalpha, form)):
                        candidates.setdefault(form, number)
                if len(candidates) > _CANDIDATES or len(text) > _TEXT:
                    raise ValueError("the row is too large to search for its values")
    return candidates


def _texts(value: Any) -> Iterator[str]:
    """The texts by which a value, or a value in it, may be quoted."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield repr(value)[2:-1]
    elif isinstance(value, Mapping):
        yield from _each(value.values())
    elif isinstance(value, (list, tuple)):
        yield from _each(value)
    elif value is not None and value == value:  # NaN is no value
        yield str(value)
        yield repr(value)


def _each(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        yield from _texts(value)


def _pattern(texts: Iterable[str]) -> re.Pattern[str]:
    """A pattern for any of the texts, the longest first; short texts and numbers are whole words.

    The case is ignored except for a single letter, since `a` is a word.
    """
    parts = []
    for text in sorted(texts, key=len, reverse=True):
        part = re.escape(text) if len(text) > 1 else f"(?-i:{re.escape(text)})"
        parts.append(part if len(text) > 3 and not text[-1].isdigit() else rf"(?<!\w){part}(?!\w)")
    return re.compile("|".join(parts), re.IGNORECASE)


def _token(match: re.Match[str], words: Mapping[str, int], code: set[str], texts: str) -> str:
    """The replacement of a literal, a number or a word; unchanged if it can't be a value."""
    if (inner := match["inner"]) is not None:
        known = inner in code or hasattr(builtins, inner) or _OF_CODE.fullmatch(inner)
        return match[0] if known and inner.casefold() not in words else "<text>"
    if number := match["number"]:
        return number if _DIMENSIONS.fullmatch(number) else "<number>"
    if match["cut"]:
        return "<text>"
    if word := match["word"]:
        folded = word.casefold()
        if (column := words.get(folded)) is not None:
            return _marked(column)
        if not word.isascii() and folded in texts:  # a script without spaces
            return "<text>"
        return word if _DTYPE.fullmatch(word) else re.sub(r"\d{2,}", "<number>", word)
    return match[0]
