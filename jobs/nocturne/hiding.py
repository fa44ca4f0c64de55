"""What an exception says, without the values that it was raised about.

Its text is made by a model, a library or Arrow, and quotes what they were given: a name, a whole
frame. Reasons and messages are read by more people than the rows are, and are counted by their
text. So what is of the row is replaced by its column's name in angle brackets, and what could be
(a literal in quotes, a number) by ``<text>`` and ``<number>``.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

__all__ = ["cause_of", "failed_import", "redacted"]

Values = Mapping[str, Iterable[Any]]
"""Column -> its values, of the rows that an exception is about."""

_LINE = 200
"""Characters of a line that are kept."""
_TEXT, _CANDIDATES = 20_000, 2_000
"""Characters of an exception's text, and texts of a row, that are looked through."""

_MARK = re.compile("\ue000(\\d+)\ue001")
"""Stands for a column while a text is worked on: no text of ours holds such characters."""
_WORD = re.compile(r"[^\W_]+")
_TOKEN = re.compile(
    "\ue000\\d+\ue001"
    r"|(?<!\w)(?P<quote>['\"`])(?P<inner>.*?)(?P=quote)(?!\w)"
    r"|(?<!\w)(?P<number>[-+]?\.?\d(?:[\w.+:/-]*\w)?)"
    r"|(?P<cut>[^\W_]+(?:\.\.\.|…))"
    r"|(?P<word>[^\W_]+)"
)
_UNDER = re.compile(r"[\s~-]*\^[\s^~-]*")
"""A line that points at a place in the line above, which is code."""
_REPEATED = re.compile(r"(<[^<>]+>)(?:[\s,;]+\1)+")
_DTYPE = re.compile(r"(?i)(u?int|b?float|complex|datetime|timedelta|utf|ascii|latin|sha)\d{1,3}")
_DIMENSIONS = re.compile(r"[1-9]D")
_OF_CODE = re.compile(
    r"(?:builtins|datetime|numpy|pandas|pyarrow|torch)(?:\.\w+)+|[<>=!+*/%&|@~^-]{1,3}"
)
"""What is quoted and is of no row: a library's class, an operator."""
_TYPES = {"DataFrame", "NAType", "NaTType", "NoneType", "Series", "Tensor", "Timestamp", "ndarray"}
_COMMON = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be but by can for from had has have if in into is it its must no not "
        "of on or such than that the then there this to was were when which will with",
    )
)
"""Words that say nothing of the row that they stand in."""


def cause_of(error: BaseException) -> BaseException:
    """The exception itself, where MLflow has put it, or its text, into one of its own."""
    while _is_mlflows(error):
        within = error.__context__
        told = error.__cause__ or (within if within and str(within) in str(error) else None)
        if told is None:
            break
        error = told
    return error


def failed_import(error: BaseException) -> ImportError | None:
    """The failed import that an exception is, or was raised ``from``."""
    found: BaseException | None = cause_of(error)
    while found is not None and not isinstance(found, ImportError):
        found = found.__cause__
    return found


def redacted(error: BaseException, values: Values | None = None) -> str:
    """Type and last line of an exception: ``ValueError: could not convert to float: <city>``.

    Args:
        values: of the rows that it is about; words of theirs are taken out too.
    """
    found = cause_of(error)
    name = type(found).__name__[:80]
    try:
        line = _line(found, values or {})[:_LINE]
    except Exception:  # __str__ is the model's own code; a row may be too large to look for
        return name
    return f"{name}: {line}" if line else name


def _is_mlflows(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] == "mlflow"


def _line(error: BaseException, values: Values) -> str:
    """The last line that says something, without values."""
    names = list(values)
    text = re.sub("[\ue000\ue001]", "", str(error)[-_TEXT:])
    whole = _candidates(values)
    folded = {form.casefold(): at for form, at in whole.items()}
    if whole:
        text = _pattern(whole).sub(lambda m: _marked(folded.get(m[0].casefold(), -1)), text)
        text = re.sub("(['\"`])(\ue000\\d+\ue001)\\1", r"\2", text)
    line = _last(text)
    if _is_mlflows(error):
        line = line.rpartition("Error: ")[2]
    words = {
        word.casefold(): at
        for text, at in whole.items()
        for word in _WORD.findall(text)
        if word.casefold() not in _COMMON and not word.isdecimal()
    }
    code = {*names, *_TYPES, str(getattr(error, "name", None))}
    done = _TOKEN.sub(lambda m: _token(m, words, code, " ".join(folded)), line)
    done = _MARK.sub(lambda m: f"<{names[int(m[1])]}>", done)
    return _REPEATED.sub(r"\1", done)


def _last(text: str) -> str:
    """The last line with a letter, a digit or a value in it that is no code pointed at."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    while len(lines) > 2 and _UNDER.fullmatch(lines[-1]):
        del lines[-2:]
    told = (x for x in reversed(lines) if "\ue000" in x or any(map(str.isalnum, x)))
    return next(told, lines[-1] if lines else "")


def _marked(column: int) -> str:
    return f"\ue000{column}\ue001" if column >= 0 else "<text>"


def _candidates(values: Values) -> dict[str, int]:
    """What of the rows may stand in a text -> the number of its column.

    Raises:
        ValueError: that is too much to look for.
    """
    found: dict[str, int] = {}
    for at, column in enumerate(values.values()):
        for value in column:
            for text in _texts(value):
                for form in (text.strip(), repr(text.strip())[1:-1]):
                    if len(form) > 2 or any(map(str.isalpha, form)):
                        found.setdefault(form, at)
                if len(found) > _CANDIDATES or len(text) > _TEXT:
                    raise ValueError("the row is too large to look for its values")
    return found


def _texts(value: Any) -> Iterator[str]:
    """How a value may be written; of what it holds too."""
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
    """Any of the texts, the longest that fits; short ones and numbers only as whole words.

    Of a single letter the case counts too: `a` is a word.
    """
    parts = []
    for text in sorted(texts, key=len, reverse=True):
        part = re.escape(text) if len(text) > 1 else f"(?-i:{re.escape(text)})"
        parts.append(part if len(text) > 3 and not text[-1].isdigit() else rf"(?<!\w){part}(?!\w)")
    return re.compile("|".join(parts), re.IGNORECASE)


def _token(found: re.Match[str], words: Mapping[str, int], code: set[str], texts: str) -> str:
    """What stands for a literal, a number or a word; itself, where it can be of no row."""
    if (inner := found["inner"]) is not None:
        known = inner in code or hasattr(builtins, inner) or _OF_CODE.fullmatch(inner)
        return found[0] if known and inner.casefold() not in words else "<text>"
    if number := found["number"]:
        return number if _DIMENSIONS.fullmatch(number) else "<number>"
    if found["cut"]:
        return "<text>"
    if word := found["word"]:
        folded = word.casefold()
        if (column := words.get(folded)) is not None:
            return _marked(column)
        if not word.isascii() and folded in texts:  # of writing without spaces
            return "<text>"
        return word if _DTYPE.fullmatch(word) else re.sub(r"\d{2,}", "<number>", word)
    return found[0]
