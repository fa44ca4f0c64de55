"""From the overview alone one reads which night needs somebody, why, and what is usual to do."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from conftest import sample
from nocturne import config
from nocturne.cli import app
from nocturne.config import Loaded
from nocturne.errors import Held, InputError, NocturneError
from nocturne.operate.needs import due
from nocturne.operate.status import newest, statuses_of
from nocturne.pipeline.publishing import publish_run
from nocturne.pipeline.recording import judge_run
from nocturne.records.status import RunStatus
from nocturne.store.partition_state import SILENCE
from page.reading import page_of
from pipeline.conftest import DAYS, night_of, scored, shift

DAY = DAYS[1]
Make = Callable[..., Loaded]


def _suite(root: Path) -> None:
    """A suite that no day passes; the footers do not show it before the rows are read."""
    kwargs = {"column": "x", "min_value": 9, "max_value": 10}
    expectation = {"type": "expect_column_mean_to_be_between", "kwargs": kwargs}
    text = yaml.safe_dump({"name": "s", "expectations": [expectation]})
    (root / "conf" / "expectations" / "s.yaml").write_text(text)


def _judged(loaded: Loaded, **options: Any) -> None:
    run = scored(loaded, DAY, **options)
    judge_run(run)
    with suppress(Held, InputError):
        publish_run(run)


def _input(root: Path, column: str, values: pa.Array) -> None:
    table = sample(600)
    at = table.schema.get_field_index(column)
    path = root / "data" / f"ds={DAY}" / "part-0.parquet"
    pq.write_table(table.set_column(at, column, values), path, row_group_size=250)


def _expectation(make: Make, root: Path) -> None:
    make(quality__input_suite="s.yaml")
    _suite(root)
    _judged(config.load("p"))


def _failed_expectation(make: Make, root: Path) -> None:
    make(quality__input_suite="s.yaml", quality__on_failure="fail")
    _suite(root)
    _judged(config.load("p"))


def _person(make: Make, root: Path) -> None:
    loaded = make()
    shift(root, DAY, by=0.01)
    _judged(loaded, hold="a new model, look at it")


def _quarantine(make: Make, root: Path) -> None:
    loaded = make(quality__max_quarantined=0.0)
    _input(root, "id", pa.array([None, *range(1, 600)], pa.int64()))
    _judged(loaded)


def _duplicates(make: Make, root: Path) -> None:
    loaded = make(quality__unique_keys=True)
    _input(root, "id", pa.array([1, *range(1, 600)], pa.int64()))
    _judged(loaded)


def _drift(make: Make, root: Path) -> None:
    loaded = make(drift__on_drift="hold")
    shift(root, DAY, "x")
    _judged(loaded)


def _unplanned(make: Make, root: Path) -> None:
    loaded = make()
    path = root / "data" / f"ds={DAY}" / "part-0.parquet"
    pq.write_table(sample(600).drop_columns(["y"]), path)
    with pytest.raises(NocturneError):
        scored(loaded, DAY)


def _broken(make: Make, root: Path) -> None:
    run = scored(make(), DAY)
    with suppress(InputError), run.step("score"):
        raise InputError("part-0.parquet: page 3 can't be decoded")


def _lost(make: Make, root: Path) -> None:
    run = scored(make(), DAY)
    silent = (dt.datetime.now(dt.UTC) - 2 * SILENCE).isoformat(timespec="seconds")
    run.state.write_status(RunStatus.of(run.plan, "running", "score", "", silent))


def _occupied(make: Make, root: Path) -> None:
    loaded = make()
    night_of(loaded, DAY)
    folder = root / "out" / "scores" / f"ds={DAY}"
    for path in folder.iterdir():
        path.unlink()
    pq.write_table(pa.table({"id": [1]}), folder / "other.parquet")


@pytest.mark.parametrize(
    ("make_it", "state", "why", "usual"),
    [
        (_expectation, "held", "1 of 1 expectations failed: expect_column_mean_to", "Score again"),
        (_person, "held", "a new model, look at it", "Approve"),
        (_quarantine, "held", "1 of 600 rows (0.17%) are quarantined, over the", "Open the rows"),
        (_duplicates, "held", "2 rows have a key that another row has too", "Score again"),
        (_drift, "held", "drifted", "Approve"),
        (_failed_expectation, "failed", "1 of 1 expectations failed", "Score again"),
        (_unplanned, "failed", "'y'", "Score again"),
        (_broken, "failed", "part-0.parquet: page 3 can't be decoded", "Score again"),
        (_lost, "failed", "no sign of life since", "Score again"),
        (_occupied, "failed", "other.parquet", ""),
    ],
)
def test_a_night_that_needs_somebody_says_which_why_and_what_is_usual(
    project: Make,
    tmp_path: Path,
    client: Any,
    make_it: Callable[[Make, Path], None],
    state: str,
    why: str,
    usual: str,
) -> None:
    make_it(project, tmp_path)
    page = page_of(client, "/")
    [(title, reason, buttons)] = page.needs()
    assert title.startswith(f"{state} p {DAY}")
    assert why in reason
    assert next(iter(buttons), "") == usual
    # The page of the night offers the same, with commands that exist.
    ways = page_of(client, f"/p/{DAY}").ways()
    assert [label for label, _ in ways if label][: len(buttons)] == buttons
    assert all(command.startswith("nocturne ") and DAY in command for _, command in ways)


def test_a_night_about_which_nobody_answered_still_needs_somebody(
    project: Make, client: Any
) -> None:
    loaded = project()
    _judged(loaded, hold="a new model")
    partition = config.partition(loaded.pipeline.input.partition, DAY)
    status = statuses_of(loaded, [partition])[0]
    assert status.run is not None
    asked = ["gate", status.run.uri, "--reject", "--by", "airflow", "--why", "nobody answered"]
    done = CliRunner().invoke(app, [*asked, "--unanswered"])
    assert done.exit_code == 0, done.output
    [(title, why, buttons)] = page_of(client, "/").needs()
    assert title.startswith(f"unanswered p {DAY}")
    assert (why, buttons[0]) == ("a new model", "Score again")
    done = CliRunner().invoke(app, [*asked])
    assert page_of(client, "/").needs() == [], "a person has rejected it"


def test_a_held_night_is_not_forgotten_after_many_others(
    project: Make, tmp_path: Path, client: Any
) -> None:
    loaded = project()
    _judged(loaded, hold="a new model")
    later = "2024-05-01"
    (tmp_path / "data" / f"ds={later}").mkdir()
    pq.write_table(sample(600), tmp_path / "data" / f"ds={later}" / "part-0.parquet")
    night_of(loaded, later)
    page = page_of(client, "/")
    assert [title.split(" for ")[0] for title, _, _ in page.needs()] == [f"held p {DAY}"]
    assert f"{DAY}: held" not in page.source  # the strip ends before


def test_a_failure_is_told_by_its_own_error_not_by_what_was_judged_before(
    project: Make, tmp_path: Path, client: Any
) -> None:
    loaded = project()
    shift(tmp_path, DAY, "x")
    run = scored(loaded, DAY)
    assert judge_run(run).verdict == "warn"
    with suppress(InputError), run.step("publish"):
        raise InputError("no space left on the device")
    [(_, why, buttons)] = page_of(client, "/").needs()
    assert why == "no space left on the device"
    assert buttons == ["Score again"]


def test_a_suite_with_a_mistake_leaves_a_held_night_held(
    project: Make, tmp_path: Path, client: Any
) -> None:
    _expectation(project, tmp_path)
    path = tmp_path / "conf" / "expectations" / "s.yaml"
    path.write_text(path.read_text().replace("expect_column_mean", "expect_colum_mean"))
    done = CliRunner().invoke(app, ["judge", "p", "--date", DAY])
    assert done.exit_code == 1
    assert "expect_colum_mean" in done.stderr
    [(title, _, buttons)] = page_of(client, "/").needs()
    assert title.startswith(f"held p {DAY}")
    assert "Approve" in buttons


def test_what_is_damaged_is_not_offered_to_be_adopted(project: Make, client: Any) -> None:
    loaded = project()
    manifest = night_of(loaded, DAY)
    partition = config.partition(loaded.pipeline.input.partition, DAY)
    Path(str(statuses_of(loaded, [partition])[0].manifest_file)).write_text("{")
    [(_, why, buttons)] = page_of(client, "/").needs()
    assert manifest.id in why
    assert "Adopt" not in buttons
    assert page_of(client, f"/p/{DAY}").ways()[0][1] == f"nocturne verify p --date {DAY}"


def test_a_pipeline_that_can_t_be_read_needs_somebody(
    project: Make, tmp_path: Path, client: Any
) -> None:
    night_of(project(), DAY)
    path = tmp_path / "conf" / "pipelines" / "p.yaml"
    path.write_text(path.read_text() + "\nowners: somebody\n")
    page = page_of(client, "/")
    assert page.needs()[0][0] == "broken p"
    assert "owners" in page.needs()[0][1]
    assert "Nothing: no night" not in page.text


def test_a_partition_that_may_be_missing_is_not_late(
    project: Make, tmp_path: Path, client: Any
) -> None:
    loaded = project(slo__within_minutes=0.01, input__on_missing="skip")
    folder = tmp_path / "data" / f"ds={_yesterday(3)}"
    folder.mkdir()
    pq.write_table(sample(600), folder / "part-0.parquet")
    night_of(loaded, _yesterday(3))
    assert page_of(client, "/").needs() == []
    folder.rename(tmp_path / "data" / f"ds={_yesterday()}")
    [(title, _, _)] = page_of(client, "/").needs()
    assert title.startswith(f"late p {_yesterday()}")


def test_a_deadline_is_an_instant_whatever_the_clocks_show(project: Make) -> None:
    loaded = project(slo__within_minutes=180, schedule__timezone="America/New_York")
    at = {
        "2024-01-02": "2024-01-03T08:00:00+00:00",
        "2024-03-09": "2024-03-10T08:00:00+00:00",  # clocks go forward that night
        "2024-11-02": "2024-11-03T07:00:00+00:00",  # and back
    }
    for key, moment in at.items():
        deadline = due(loaded, key)
        assert deadline is not None
        assert deadline.isoformat() == moment


def test_nothing_needs_anybody_if_all_is_published(project: Make, client: Any) -> None:
    night_of(project(), DAY)
    page = page_of(client, "/")
    assert page.needs() == []
    assert "Nothing: no night is held, failed or late." in page.text


def _yesterday(back: int = 1) -> str:
    return (dt.datetime.now(dt.UTC).date() - dt.timedelta(days=back)).isoformat()


def test_a_night_that_is_due_is_late_also_if_its_input_has_not_come(
    project: Make, tmp_path: Path, client: Any
) -> None:
    loaded = project(slo__within_minutes=0.01)
    assert page_of(client, "/").needs()[0][0].startswith(f"late p {_yesterday()}")
    folder = tmp_path / "data" / f"ds={_yesterday(3)}"
    folder.mkdir()
    pq.write_table(sample(600), folder / "part-0.parquet")
    night_of(loaded, _yesterday(3))
    assert newest(loaded, "published") == _yesterday(3)
    [(title, why, buttons)] = page_of(client, "/").needs()
    assert title.startswith(f"late p 2 nights, from {_yesterday(2)} to {_yesterday()} for ")
    assert why.startswith(f"they were due from {_yesterday()}")
    assert buttons == [f"Score {_yesterday(2)} to {_yesterday()}"]


def test_of_many_pipelines_the_first_answer_does_not_wait_for_all(
    project: Make, tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nocturne_airflow.page import overview

    _judged(project(), hold="look at it")
    pipelines = tmp_path / "conf" / "pipelines"
    (pipelines / "a.yaml").write_text((pipelines / "p.yaml").read_text().replace("out/", "a/"))
    monkeypatch.setattr(overview, "_read", {})
    monkeypatch.setattr(overview, "_SHOWN_S", 1e-9)
    first = page_of(client, "/")
    assert "2 more pipelines are being looked at" in first.text
    assert "Nothing: no night" not in first.text
    monkeypatch.setattr(overview, "_SHOWN_S", 10)
    assert page_of(client, "/").needs()[0][0].startswith(f"held p {DAY}")


def test_old_data_is_not_late(project: Make, client: Any) -> None:
    night_of(project(slo__within_minutes=1, schedule__end_date="2024-01-05"), DAY)
    assert page_of(client, "/").needs() == []


def test_a_row_shows_rows_scores_the_worst_drift_and_who_answers(
    project: Make, tmp_path: Path, client: Any
) -> None:
    loaded = project(slo__by="23:59")
    for day in DAYS[:3]:
        night_of(loaded, day)
    path = tmp_path / "conf" / "pipelines" / "p.yaml"
    path.write_text(f"{path.read_text()}\nowner: the flight team\ndocs: https://runbooks/p\n")
    page = page_of(client, "/")
    [row] = page.all(".//table[@class='pipelines']/tbody/tr")
    assert "the flight team" in row
    assert "× alarm" in row
    assert "600" in row
    assert "next due" in row
    assert page.all(".//a[@href='https://runbooks/p']") == ["what to do"]
    assert len(page.all(".//svg[@class='spark']")) == 2
