"""The rows of a night against earlier nights: what is ordinary does not alarm, the rest does."""

from __future__ import annotations

import csv
import datetime as dt
import random
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from nocturne.drift import compare_rows
from nocturne.records.volume import Volume

FLIGHTS = Path(__file__).parents[1] / "data" / "flights_a_day.csv"
"""The flights out of New York on each day of 2013: those of the demo."""

MONDAY = dt.date(2024, 1, 1)
WEEK = (1000, 1010, 990, 1005, 995, 600, 400)


def name(key: str) -> str:
    return f"{key}:000001-{'0' * 16}"


def weeks(count: int, week: tuple[int, ...] = WEEK, hour: str = "") -> dict[str, int]:
    """The rows of so many whole weeks from a Monday on, by the names of their nights."""
    days = [MONDAY + dt.timedelta(n) for n in range(7 * count)]
    noise = random.Random(1)
    return {name(f"{d}{hour}"): round(week[d.weekday()] * noise.uniform(0.97, 1.03)) for d in days}


def after(history: Mapping[str, int], weekday: int) -> str:
    """The first day of a weekday after the history."""
    last = max(dt.date.fromisoformat(key[:10]) for key in history)
    return f"{last + dt.timedelta(1 + (weekday - last.weekday() - 1) % 7)}"


def over(series: Iterable[tuple[str, int]]) -> dict[str, Volume]:
    """Each night compared with the last 60 before it that did not alarm."""
    history, found = dict[str, int](), dict[str, Volume]()
    for key, rows in series:
        found[key] = compare_rows(rows, key, dict(list(history.items())[-60:]))
        if not found[key].alarmed:
            history[name(key)] = rows
    return found


def test_in_a_year_of_real_flights_only_holidays_alarm() -> None:
    with FLIGHTS.open() as file:
        flights = {row["day"]: int(row["rows"]) for row in csv.DictReader(file)}
    volumes = over(flights.items())
    assert [key for key, volume in volumes.items() if volume.alarmed] == [
        "2013-07-04",
        "2013-09-01",  # the Sunday before Labor Day
        "2013-11-28",  # Thanksgiving
        "2013-11-29",
        "2013-12-25",
    ]
    compared = {key: volume for key, volume in volumes.items() if volume.reference}
    assert len(compared) == 365 - 14
    for key, volume in compared.items():
        assert compare_rows(flights[key] // 2, key, volume.history).alarmed, key


def test_an_ordinary_sunday_is_far_below_the_weekdays_and_does_not_alarm() -> None:
    history = weeks(8)
    sunday = compare_rows(405, after(history, 6), history)
    assert not sunday.alarmed
    assert sunday.reference == "the last 8 Sundays"
    assert sunday.low < 405 < sunday.high < 1000


def test_half_a_sunday_alarms_and_a_weekdays_rows_on_a_sunday_do_too() -> None:
    history = weeks(8)
    sunday = after(history, 6)
    assert compare_rows(200, sunday, history).alarmed
    assert compare_rows(1000, sunday, history).alarmed
    assert not compare_rows(1000, after(history, 0), history).alarmed


def test_nights_that_vary_much_may_go_on_doing_so() -> None:
    calm, restless = weeks(8), weeks(8)
    wild = [key for key in restless if dt.date.fromisoformat(key[:10]).weekday() == 2]
    for n, key in enumerate(wild):
        restless[key] = (500, 2000)[n % 2]
    tuesday = after(calm, 1)
    assert compare_rows(500, tuesday, calm).alarmed
    assert not compare_rows(500, tuesday, restless).alarmed, "as far as Wednesdays from one another"


def test_a_level_that_was_approved_is_ordinary_afterwards() -> None:
    history = weeks(7)
    monday = after(history, 0)
    assert compare_rows(2000, monday, history).alarmed
    history[name(monday)] = 2000
    later = after(history, 0)
    assert not compare_rows(2000, later, history, [name(monday)]).alarmed
    # The range reaches to it, and not as far on the other side.
    assert compare_rows(500, later, history, [name(monday)]).alarmed
    tuesday = after(history, 1)
    assert compare_rows(2000, tuesday, history, [name(monday)]).alarmed


def test_one_odd_night_does_not_make_all_ordinary() -> None:
    for odd in (1, 30, 60_000):
        for history in (weeks(2), weeks(8)):
            first = next(iter(history))
            history[first] = odd
            assert compare_rows(40, after(history, 0), history).alarmed
            assert compare_rows(20_000, after(history, 0), history).alarmed


@pytest.mark.parametrize("count", [0, 1, 3, 13])
def test_with_too_few_nights_it_says_so(count: int) -> None:
    history = dict(list(weeks(2).items())[:count])
    volume = compare_rows(1, "2024-01-15", history)
    assert not volume.alarmed
    assert volume.in_words == volume.note
    assert volume.note.startswith(f"not compared: {count} ordinary nights before it, ")
    assert volume.history == history


def test_two_weeks_are_compared_as_a_whole() -> None:
    history = weeks(2)
    for weekday in range(7):
        key = after(history, weekday)
        assert compare_rows(WEEK[weekday], key, history).reference == "the last 14 nights"
        assert not compare_rows(WEEK[weekday], key, history).alarmed
        assert compare_rows(0, key, history).alarmed


def test_a_weekday_that_never_came_is_not_compared_with_others() -> None:
    history = {k: v for k, v in weeks(8).items() if dt.date.fromisoformat(k[:10]).weekday() < 5}
    assert "0 of them Saturdays" in compare_rows(10, after(history, 5), history).note


def test_an_hour_is_compared_with_the_same_hour() -> None:
    history = weeks(8, hour="T05")
    volume = compare_rows(100, f"{after(history, 6)}T05", history)
    assert volume.alarmed
    assert volume.in_words.startswith("75% fewer than the median ")
    assert "of the last 8 Sundays at 05:00; ordinary are " in volume.in_words


def test_few_rows_vary_by_chance() -> None:
    history = weeks(8, (6,) * 7)
    monday = after(history, 0)
    assert not compare_rows(4, monday, history).alarmed
    assert compare_rows(0, monday, history).alarmed


def test_a_night_without_rows_alarms_unless_such_nights_are_ordinary() -> None:
    history = weeks(8)
    none = compare_rows(0, after(history, 0), history)
    assert none.alarmed
    assert none.in_words.startswith("100% fewer than the median ")
    sundays_off = weeks(8, (1000, 1000, 1000, 1000, 1000, 1000, 0))
    assert not compare_rows(0, after(sundays_off, 6), sundays_off).alarmed
    some = compare_rows(900, after(sundays_off, 6), sundays_off)
    assert some.alarmed
    assert some.in_words.startswith("more than the median 0 of the last 8 Sundays; ")


def test_a_huge_night_alarms() -> None:
    history = weeks(8)
    huge = compare_rows(10**12, after(history, 0), history)
    assert huge.alarmed
    assert " times the median " in huge.in_words


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (2103, "61% fewer than the median 5,412 of the last 8 Sundays; ordinary are 4,900 to "),
        (5412, "about as many as the median"),
        (8000, "48% more than the median"),
        (12000, "2.2 times the median"),
        (3, "over 99% fewer than the median"),
    ],
)
def test_the_comparison_reads_well(rows: int, words: str) -> None:
    volume = Volume(rows, 5412.0, 4900, 5900, "the last 8 Sundays")
    assert volume.in_words.startswith(words)


def test_a_table_without_partitions_is_not_compared() -> None:
    assert compare_rows(5, "all", {}).note.startswith("not compared: a table without partitions")
