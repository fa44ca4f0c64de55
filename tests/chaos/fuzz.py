"""What the fuzzers share: how much they try, a watchdog, and what counts as a clean end.

``NOCTURNE_CHAOS`` scales them: seconds in `make test`, where the same examples are tried each
time, and minutes in `make chaos`, where they are new ones.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from typer.main import get_command

from nocturne.cli import app

__all__ = ["HOSTILE", "clean", "examples", "in_time", "mutated", "odd_dates", "odd_text"]

SCALE = max(3, int(os.environ.get("NOCTURNE_CHAOS", "0")) // 4)
COMMAND = get_command(app)
CODES = {0, 1, 2, 3, 75}
"""What the command line may end with."""
LIMIT_S = 30
"""Most examples take some hundredths of a second; one that takes so long hangs."""


def examples(each: int) -> settings:
    """``each`` times the scale."""
    return settings(
        max_examples=each * SCALE,
        derandomize="NOCTURNE_CHAOS" not in os.environ,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.reuse, Phase.generate),  # shrinking takes longer than finding
    )


class Hangs(BaseException):
    """Nothing of ours catches it."""


@contextmanager
def in_time(what: object = "") -> Iterator[None]:
    """Raises: Hangs if what is done within takes longer than any example should."""

    def ring(*_: object) -> None:
        raise Hangs(f"{what} takes longer than {LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def clean(*arguments: str) -> tuple[int, str, str]:
    """Runs a command, which must end by itself, with a code of ours, and say why if not 0.

    Returns:
        The exit code, standard output and standard error.
    """
    with (
        in_time(arguments),
        redirect_stdout(StringIO()) as out,
        redirect_stderr(StringIO()) as err,
    ):
        try:
            COMMAND.main(list(arguments), prog_name="nocturne")
        except SystemExit as end:
            code = int(end.code or 0)
    assert code in CODES, (arguments, code)
    assert code == 0 or err.getvalue().strip(), (arguments, code)
    assert "Traceback" not in err.getvalue()
    return code, out.getvalue(), err.getvalue()


odd_text = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            "",
            " ",
            "\0",
            "..",
            "../../etc/passwd",
            "/",
            "~nobody/x",
            "a" * 300,
            "-",
            "--help",
            "%s%n",
            "{x}",
            "é",
            "\u202e",
            "NaN",
            "2024-01-01",
            "2013-13-45",
            "9" * 400,
            "null",
        ]
    ),
)

HOSTILE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([10**9, -(10**18), 2**63, 10**30]),
    st.floats(),
    odd_text,
    st.just({"a": [[[[]]]]}),
    st.just([]),
    st.just({}),
    st.lists(odd_text, max_size=3),
    st.dictionaries(odd_text, st.integers(), max_size=3),
)
"""Values where others are expected."""

odd_dates = st.one_of(
    st.dates().map(str),
    st.datetimes().map(lambda moment: moment.isoformat()[:13]),
    st.sampled_from(
        [
            "9999-12-31",
            "9999-12-31T23",
            "1000-01-01",
            "0999-12-31",
            "0001-01-01",
            "2024-02-30",
            "2024-W01-1",
            "20240101",
            "all",
            "1000-01-01T00",
            "9999-12-30",
            "-9999-01-01",
        ]
    ),
    odd_text,
)


def _places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = (
        tree.items()
        if isinstance(tree, dict)
        else (enumerate(tree) if isinstance(tree, list) else ())
    )
    for key, value in inner:
        yield from _places(value, (*path, key))


@st.composite
def mutated(draw: st.DrawFn, tree: Any) -> Any:
    """A JSON value of which one or two places hold something else, or nothing."""
    for _ in range(draw(st.integers(1, 2))):
        tree = json.loads(json.dumps(tree))
        place = draw(st.sampled_from(list(_places(tree))))
        how = draw(st.sampled_from(["other", "gone", "more"]))
        if not place:
            tree = draw(HOSTILE) if how == "other" else tree
            continue
        holder = _at(tree, place[:-1])
        if how == "gone":
            del holder[place[-1]]
        elif how == "more" and isinstance(holder, dict):
            holder[draw(odd_text)] = draw(HOSTILE)
        else:
            holder[place[-1]] = draw(HOSTILE)
    return tree


def _at(tree: Any, place: Sequence[Any]) -> Any:
    for key in place:
        tree = tree[key]
    return tree
