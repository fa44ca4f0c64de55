"""Whatever the page is asked, whatever lies in the state: an answer, and no error 500.

The page is Airflow's plugin as it is, with an Airflow database; only who asks is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.damage import HELD, ONCE, TWICE, Nights, damage
from chaos.fuzz import HOSTILE, examples, in_time, odd_dates, odd_text
from nocturne.errors import ConfigError
from page_client import page_client
from pipeline.conftest import DAYS


@pytest.fixture(scope="module")
def client(nights: Nights) -> Iterator[object]:
    with pytest.MonkeyPatch.context() as patched, page_client() as (client, _):
        patched.setenv("NOCTURNE_HOME", str(nights.root))
        yield client


def _get(client: object, path: str) -> object:
    with in_time(path):
        answer = client.get(path)  # type: ignore[attr-defined]
    assert answer.status_code in (200, 400, 404, 422), (path, answer.status_code, answer.text)
    return answer


def _part(text: str) -> str:
    return quote(text, safe="", errors="replace") or "-"


@given(odd_dates, odd_text, odd_text)
@examples(3)
def test_odd_queries(client: object, nights: Nights, date: str, one: str, other: str) -> None:
    for path in (
        f"/?page={_part(one)}",
        f"/p?until={_part(date)}",
        f"/p/{_part(date)}",
        f"/{_part(one)}",
        f"/p/{TWICE}/{_part(one)}/{_part(other)}",
        f"/p/{TWICE}/manifests/{_part(one)}",
        f"/p/{TWICE}/{nights.run}/{_part(one)}",
        f"/p/columns?name={_part(one)}&until={_part(date)}&nights={_part(other)}",
        f"/p/columns?name={_part(one)}",
        f"/p/expectations?until={_part(date)}",
        f"/p/compare?a={_part(one)}&b={_part(date)}&name={_part(other)}",
        f"/p/compare?a={TWICE}:{_part(one)}",
        f"/p/{TWICE}/rows?reason={_part(one)}&sort={_part(other)}",
        f"/p/{_part(date)}/rows.csv?reason={_part(one)}",
    ):
        _get(client, path)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/p?until=9999-12-31", 200),
        ("/p?until=1000-01-01", 200),
        ("/p?until=0001-01-01", 400),
        ("/p?until=soon", 400),
        ("/p/9999-12-31", 200),
        ("/p/today", 404),
        ("/q", 404),
        (f"/p/{TWICE}/%00/report.html", 404),
        (f"/p/{TWICE}/{'a' * 300}/report.html", 404),
        (f"/p/{TWICE}/manifests/%00", 404),
        (f"/p/{TWICE}/manifests/{'a' * 300}", 404),
        ("/?page=99999999999999999999", 200),
        ("/?page=x", 422),
    ],
)
def test_what_an_odd_query_gives(client: object, path: str, code: int) -> None:
    assert _get(client, path).status_code == code  # type: ignore[attr-defined]


@given(st.data())
@examples(3)
def test_a_damaged_file_leaves_the_page(
    client: object, nights: Nights, data: st.DataObject
) -> None:
    nights.put_back()
    name = data.draw(st.sampled_from(nights.files))
    data.draw(st.composite(lambda draw: damage(draw, nights.state / name))())
    for path in ("/", "/p", "/p/columns", "/p/expectations", *(f"/p/{day}" for day in DAYS)):
        assert _get(client, path).status_code == 200  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["current.json", "manifests/*.json", "runs/*/judgement.json"])
def test_the_page_names_what_is_damaged(client: object, nights: Nights, name: str) -> None:
    nights.put_back()
    day = HELD if name == "current.json" else ONCE
    [path] = (nights.state / f"ds={day}").glob(name)
    path.unlink()
    path.write_text("{")
    assert str(path) in _get(client, f"/p/{day}").text  # type: ignore[attr-defined]
    assert str(path) not in _get(client, f"/p/{TWICE}").text  # type: ignore[attr-defined]


LAYOUTS = ({"ds": "%Y-%m-%d"}, {"ds": "%Y-%m-%d", "hour": "%H"}, {})


@given(
    st.sampled_from(LAYOUTS),
    st.one_of(st.none(), odd_dates),
    st.dictionaries(
        st.sampled_from(
            ["day", "action", "run", "manifest", "model_version", "dry_run", "force", "hold"]
        ),
        st.one_of(odd_dates, HOSTILE, st.sampled_from(["score", "approve", "rollback", "-x"])),
    ),
    st.one_of(st.none(), st.dictionaries(odd_text, HOSTILE, max_size=2)),
)
@examples(30)
def test_run_parameters(
    layout: dict[str, str], key: str | None, values: dict[str, object], conf: dict[str, object]
) -> None:
    from nocturne_airflow.request import ACTIONS, read

    try:
        asked = read(layout, key, values, conf)
    except ConfigError:
        return
    assert asked.action in ACTIONS
    assert re.fullmatch(r"\d{4}-\d\d-\d\d(T\d\d)?", asked.key)
    for argument in (*asked.arguments(), *asked.decision("p", "ada")):
        assert b"\0" not in argument.encode()


@pytest.mark.parametrize(
    "wrong",
    [
        {"action": "explode"},
        {"model_version": "7"},
        {"model_version": 10**30},
        {"hold": ["x"]},
        {"hold": "a\0b"},
        {"manifest": "\ud800"},
        {"dry_run": "false"},
        {"force": 1},
        {"hold": "x" * 200_000},
        {"day": 20240101},
    ],
    ids=str,
)
def test_a_parameter_of_another_kind_is_refused(wrong: dict[str, object]) -> None:
    from nocturne_airflow.request import read

    [name] = wrong
    with pytest.raises(ConfigError, match=f"^{name} is .* expected .* Nothing was done"):
        read(LAYOUTS[0], "2024-01-01", wrong)
