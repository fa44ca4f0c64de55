"""A night with far fewer or more rows than its weekday: warned of, held, and judged alike again."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from conftest import sample
from nocturne import config
from nocturne.config import Loaded
from nocturne.errors import Held
from nocturne.operate.decisions import approve_held
from nocturne.pipeline.publishing import publish_run
from nocturne.pipeline.recording import judge_again, judge_run
from nocturne.records.manifest import Manifest
from nocturne.records.volume import Volume
from pipeline.conftest import judgement_of, night_of, run_of, scored

MakeProject = Callable[..., Loaded]

MONDAYS = [f"{dt.date(2024, 1, 1) + dt.timedelta(weeks=week)}" for week in range(6)]


def fill(root: Path, key: str, rows: int) -> Path:
    """A partition with so many rows."""
    day, _, hour = key.partition("T")
    folder = root / "data" / f"ds={day}" / (f"hour={hour}" if hour else "")
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(sample(rows, 7), folder / "part-0.parquet")
    return folder / "part-0.parquet"


def volume_of(loaded: Loaded, night: Manifest) -> Volume:
    volume = judgement_of(loaded, night).volume
    assert volume is not None
    return volume


def four_mondays(loaded: Loaded) -> list[Manifest]:
    """Four published Mondays of 600 rows; the fifth has half of that."""
    for day in MONDAYS:
        fill(loaded.home, day, 600)
    fill(loaded.home, MONDAYS[4], 300)
    return [night_of(loaded, day) for day in MONDAYS[:4]]


HALF = "300 rows came, 50% fewer than the median 600 of the last 4 Mondays; ordinary are 468 to 770"


def reason(night: Manifest) -> str:
    return "; ".join(f.reason for f in night.findings if f.rule == "quality.volume")


def test_half_a_monday_is_published_with_a_warning(project: MakeProject) -> None:
    loaded = project()
    nights = four_mondays(loaded)
    assert {night.verdict_of("quality") for night in nights} == {"ok"}
    half = night_of(loaded, MONDAYS[4])
    assert half.verdict_of("quality") == "warn"
    assert reason(half) == HALF
    assert set(volume_of(loaded, half).history) == {f"{n.partition.key}:{n.id}" for n in nights}
    assert f"{MONDAYS[4]}:{half.id}" not in volume_of(loaded, night_of(loaded, MONDAYS[5])).history


def test_it_is_held_if_the_pipeline_says_so_and_ordinary_once_approved(
    project: MakeProject,
) -> None:
    loaded = project(quality__volume="hold")
    four_mondays(loaded)
    run = scored(loaded, MONDAYS[4])
    assert judge_run(run).verdict == "hold"
    with pytest.raises(Held, match="50% fewer than the median 600"):
        publish_run(run)
    approved = approve_held(loaded, run.plan.partition, "ada")
    fill(loaded.home, MONDAYS[5], 310)
    again = night_of(loaded, MONDAYS[5])
    assert volume_of(loaded, again).history[f"{MONDAYS[4]}:{approved.id}"] == 300
    assert again.verdict_of("quality") == "ok"


def test_a_warning_that_a_person_accepted_is_ordinary(project: MakeProject) -> None:
    loaded = project()
    four_mondays(loaded)
    half = night_of(loaded, MONDAYS[4])
    note = run_of(loaded, half).state.accepted(half.id)
    note.parent.mkdir()
    note.write_text("{}")
    night = night_of(loaded, MONDAYS[5])
    assert volume_of(loaded, night).history[f"{MONDAYS[4]}:{half.id}"] == 300


def test_yaml_can_switch_it_off(project: MakeProject) -> None:
    loaded = project(quality__volume="off")
    yaml = loaded.home / "conf" / "pipelines" / "p.yaml"
    yaml.write_text(yaml.read_text().replace("'off'", "off"))
    loaded = config.load("p")
    assert loaded.pipeline.quality.volume == "off"
    four_mondays(loaded)
    half = night_of(loaded, MONDAYS[4])
    assert half.verdict_of("quality") == "ok"
    assert volume_of(loaded, half).alarmed, "it is measured, and nothing comes of it"


def test_scoring_a_day_again_compares_it_with_the_same_nights(project: MakeProject) -> None:
    loaded = project()
    four_mondays(loaded)
    first = night_of(loaded, MONDAYS[5])
    assert volume_of(loaded, first).reference == "the last 4 Mondays"
    fill(loaded.home, MONDAYS[4], 600)
    night_of(loaded, MONDAYS[4])
    again = night_of(loaded, MONDAYS[5], force=True)
    assert again.id != first.id
    assert volume_of(loaded, again) == volume_of(loaded, first)
    _, judged, published = judge_again(loaded, again.partition)
    assert published
    assert judged.volume == volume_of(loaded, first)


def test_the_first_nights_say_that_there_are_too_few(project: MakeProject) -> None:
    loaded = project()
    first = night_of(loaded, MONDAYS[0])
    volume = volume_of(loaded, first)
    assert volume.note.startswith("not compared: 0 ordinary nights before it, 0 of them Mondays.")
    assert volume.note in run_of(loaded, first).report.read_bytes().decode()


def test_a_night_that_was_judged_before_rows_were_compared_is_ordinary(
    project: MakeProject,
) -> None:
    loaded = project()
    for night in four_mondays(loaded):
        path = run_of(loaded, night).judgement_file
        judged = json.loads(path.read_bytes())
        del judged["volume"]
        path.write_bytes(json.dumps(judged).encode())
        assert judgement_of(loaded, night).volume is None
    assert reason(night_of(loaded, MONDAYS[4])) == HALF


def test_an_hour_is_compared_with_the_same_hour_of_its_weekday(project: MakeProject) -> None:
    loaded = project(input__partition={"ds": "%Y-%m-%d", "hour": "%H"})
    for day in MONDAYS:
        fill(loaded.home, f"{day}T05", 120)
        fill(loaded.home, f"{day}T06", 600)
    for day in MONDAYS[:4]:
        night_of(loaded, f"{day}T05")
        night_of(loaded, f"{day}T06")
    ordinary = night_of(loaded, f"{MONDAYS[4]}T05")
    assert ordinary.verdict_of("quality") == "ok"
    assert volume_of(loaded, ordinary).reference == "the last 4 Mondays at 05:00"
    fill(loaded.home, f"{MONDAYS[4]}T06", 120)
    assert night_of(loaded, f"{MONDAYS[4]}T06").verdict_of("quality") == "warn"


@pytest.mark.parametrize(
    ("written", "after", "words"),
    [
        (
            "2024-01-02T02:12:30+00:00",
            11550,
            "2024-01-02 02:12 UTC, 3 h 12 min after the day",
        ),
        (
            "2024-01-01T22:30:00+00:00",
            -1800,
            "2024-01-01 22:30 UTC, 30 min before the day",
        ),
        (
            "2024-03-11T08:00:00+00:00",
            69 * 86400 + 32400,
            "2024-03-11 08:00 UTC, 69 days after",
        ),
    ],
)
def test_the_input_has_arrived_when_its_newest_file_was_written(
    project: MakeProject, written: str, after: int, words: str
) -> None:
    loaded = project(schedule__timezone="Europe/Vienna")
    path = fill(loaded.home, MONDAYS[0], 600)
    other = path.with_name("part-1.parquet")
    pq.write_table(sample(50, 8, 5000), other)
    moment = dt.datetime.fromisoformat(written).timestamp()
    os.utime(path, (moment - 600, moment - 600))
    os.utime(other, (moment, moment))
    night = night_of(loaded, MONDAYS[0])
    volume = volume_of(loaded, night)
    assert volume.arrived is not None
    assert dt.datetime.fromisoformat(volume.arrived) == dt.datetime.fromisoformat(written)
    assert volume.arrived.endswith("+01:00")
    assert volume.seconds_after == after
    assert words in run_of(loaded, night).report.read_bytes().decode()
