"""What the page offers for a night can be done, and what would do harm is not offered."""

from __future__ import annotations

import datetime as dt
import errno
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from conftest import sample
from forked import in_child
from nocturne import config
from nocturne.cli import app
from nocturne.config import Loaded
from nocturne.errors import Held
from nocturne.operate.decisions import roll_back
from nocturne.operate.needs import needs
from nocturne.operate.status import PartitionStatus, recent, status_of
from nocturne.pipeline import prepare
from nocturne.pipeline.places import Places
from nocturne.pipeline.publishing import publish_run
from nocturne.pipeline.recording import judge_run
from nocturne.records.partition import Partition
from nocturne.records.status import Confirmed, RunStatus
from nocturne.store.record_files import write
from nocturne.store.run import Run
from nocturne.table_formats.folders import FolderPartition
from page.reading import page_of
from pipeline.conftest import DAYS, night_of, scored, shift

DAY = DAYS[1]
Make = Callable[..., Loaded]


def _held(loaded: Loaded, day: str = DAY) -> Run:
    run = scored(loaded, day, hold="look at it")
    judge_run(run)
    with suppress(Held):
        publish_run(run)
    return run


def _stands(loaded: Loaded) -> PartitionStatus:
    partition = config.partition(loaded.pipeline.input.partition, DAY)
    return status_of(loaded, partition)


def _run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, [*arguments])
    return done.exit_code, done.output


def _yesterday(back: int = 1) -> str:
    return (dt.datetime.now(dt.UTC).date() - dt.timedelta(days=back)).isoformat()


def _day_of_input(root: Path, day: str) -> None:
    folder = root / "data" / f"ds={day}"
    folder.mkdir()
    pq.write_table(sample(600), folder / "part-0.parquet")


def _lake(make: Make, **changes: Any) -> Loaded:
    pytest.importorskip("deltalake")
    return make(output__format="delta", **changes)


def _as_another_pipeline(root: Path, name: str, **changes: Any) -> Loaded:
    conf = root / "conf" / "pipelines"
    settings = yaml.safe_load((conf / "p.yaml").read_text())
    settings["output"]["path"] = f"{name}/scores"
    (conf / f"{name}.yaml").write_text(yaml.safe_dump(settings | changes))
    trials = root / "out" / "_nocturne" / "scores" / "trials"
    shutil.copytree(trials, root / name / "_nocturne" / "scores" / "trials")
    return config.load(name)


def test_decisions_are_about_the_run_that_is_shown(project: Make, client: Any) -> None:
    loaded = project()
    run = _held(loaded)
    [need] = needs(loaded, recent(loaded))
    runs = {way.action: way.run for way in need.remedies}
    assert (runs["approve"], runs["reject"], runs["score"]) == (run.name, run.name, "")
    commands = dict(page_of(client, f"/p/{DAY}").ways())
    assert commands["Approve"] == f"nocturne approve p --date {DAY} --run {run.name}"
    assert _run(*commands["Approve"].split()[1:])[0] == 0


def test_rows_of_other_programs_may_be_adopted(project: Make, client: Any) -> None:
    loaded = _lake(project)

    def changed() -> list[tuple[str, str, list[str]]]:
        from deltalake import DeltaTable

        night_of(loaded, DAY)
        DeltaTable(str(Places.of(loaded).state.table)).delete(f"ds = '{DAY}' and id < 5000")
        return page_of(client, "/").needs()

    [(title, why, buttons)] = in_child(changed)
    assert title.startswith(f"failed p {DAY}")
    assert "was changed by others" in why
    assert buttons == ["Adopt"]


def test_a_table_that_can_t_be_read_is_one_card_and_nothing_to_adopt(
    project: Make, client: Any
) -> None:
    loaded = _lake(project)

    def damaged() -> tuple[list[tuple[str, str, list[str]]], list[tuple[str, str]]]:
        for day in DAYS[:3]:
            night_of(loaded, day)
        log = Path(str(Places.of(loaded).state.table)) / "_delta_log"
        sorted(log.glob("*.json"))[-1].write_text("garbage")
        return page_of(client, "/").needs(), page_of(client, f"/p/{DAY}").ways()

    [(title, why, buttons)], ways = in_child(damaged)
    assert title.split(" nights, from ")[0].startswith("failed p ")
    assert title.endswith(f" to {DAYS[4]}"), "also nights that were never scored"
    assert "can't be read" in why
    assert buttons == []
    assert ways == [("", f"nocturne verify p --date {DAY}")]


def test_a_folder_that_may_not_be_read_is_nothing_to_adopt(
    project: Make, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: FolderPartition) -> dict[str, int]:
        raise PermissionError(errno.EACCES, "Permission denied", str(self.location.parent))

    night_of(project(), DAY)
    monkeypatch.setattr(FolderPartition, "files", refused)
    [(_, why, buttons)] = page_of(client, "/").needs()
    assert "can't be written or read: Permission denied" in why
    assert buttons == []


def test_scores_that_can_t_be_published_any_more_are_scored_again(
    project: Make, tmp_path: Path, client: Any
) -> None:
    loaded = project()
    for _ in range(2):
        night_of(loaded, DAY)
        shift(tmp_path, DAY, by=0.01)
    _held(loaded)
    roll_back(loaded, config.partition(loaded.pipeline.input.partition, DAY), None, "bob")
    [(title, why, buttons)] = page_of(client, "/").needs()
    assert title.startswith(f"held p {DAY}")
    assert "planned when the published manifest was 000002" in why
    assert buttons == ["Score again", "Reject"]
    assert "planned when the published manifest was 000002" in page_of(client, f"/p/{DAY}").text
    _held(loaded)
    assert page_of(client, "/").needs()[0][2][0] == "Approve", "scored again, it can be"


def test_a_judgement_that_can_t_be_read_is_judged_again(project: Make, client: Any) -> None:
    run = _held(project())
    Path(str(run.judgement_file)).write_text("{")
    [(title, _, buttons)] = page_of(client, "/").needs()
    assert title.startswith(f"held p {DAY}")
    assert buttons == ["Judge again", "Score again", "Reject"]


def test_a_night_that_was_judged_anew_says_so_and_is_published_by_approval(
    project: Make, tmp_path: Path, client: Any
) -> None:
    project(drift__on_drift="hold")
    shift(tmp_path, DAY, "x")
    run = scored(config.load("p"), DAY)
    judge_run(run)
    with suppress(Held):
        publish_run(run)
    path = tmp_path / "conf" / "pipelines" / "p.yaml"
    path.write_text(path.read_text().replace("on_drift: hold", "on_drift: warn"))
    assert _run("judge", "p", "--date", DAY)[0] == 0
    [(title, why, buttons)] = page_of(client, "/").needs()
    assert title.startswith(f"held p {DAY}")
    assert why == "judged anew: warn, not published yet"
    assert buttons[0] == "Approve"
    night = page_of(client, f"/p/{DAY}")
    assert "judged anew: warn, not published yet" in night.text
    assert night.all(".//section[@data-live='verdict']/ul/li/b") == []
    assert _run("approve", "p", "--date", DAY)[0] == 0


def test_a_run_s_record_that_can_t_be_read_is_not_scored_over(project: Make, client: Any) -> None:
    loaded = project()
    _held(loaded)
    record = Path(str(Places.of(loaded).state.root)) / f"ds={DAY}" / "current.json"
    record.write_text(record.read_text().replace('"held"', '"hold"'))
    [(_, why, buttons)] = page_of(client, "/").needs()
    assert "a night that was held there is not known as held without it" in why
    assert buttons == []
    assert page_of(client, f"/p/{DAY}").ways() == [("", f"nocturne verify p --date {DAY}")]
    code, said = _run("verify", "p", "--date", DAY)
    assert code == 1
    assert str(record) in said


def test_verify_names_a_damaged_record_beside_a_published_night(project: Make) -> None:
    loaded = project()
    night_of(loaded, DAY)
    record = Path(str(Places.of(loaded).state.root)) / f"ds={DAY}" / "current.json"
    record.write_text("{")
    code, said = _run("verify", "p", "--date", DAY)
    assert code == 1
    assert str(record) in said


def test_what_a_newer_nocturne_wrote_has_no_button(project: Make, client: Any) -> None:
    loaded = project()
    _held(loaded)
    record = Path(str(Places.of(loaded).state.root)) / f"ds={DAY}" / "current.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"version": 99}))
    [(_, why, buttons)] = page_of(client, "/").needs()
    assert why.endswith("Install that version here too")
    assert buttons == []
    assert "Nothing is wrong with the night" in page_of(client, f"/p/{DAY}").text


def test_a_published_night_whose_rows_are_gone_says_so(project: Make, client: Any) -> None:
    loaded = project()
    manifest = night_of(loaded, DAY)
    folder = Path(str(Places.of(loaded).state.table)) / f"ds={DAY}"
    for left in (True, False):
        for path in folder.iterdir():
            path.unlink()
        if not left:
            folder.rmdir()
        [(title, why, buttons)] = page_of(client, "/").needs()
        assert title.startswith(f"failed p {DAY}")
        assert why.startswith("its rows are gone: ")
        assert manifest.id in why
        assert buttons == ["Score again"]
    assert _stands(loaded).state == "failed"
    assert night_of(loaded, DAY).number == 2
    assert page_of(client, "/").needs() == []


def test_late_nights_are_one_card_and_hide_no_other_pipeline(
    project: Make, tmp_path: Path, client: Any
) -> None:
    loaded = project(slo__within_minutes=0.01)
    _day_of_input(tmp_path, _yesterday(35))
    _day_of_input(tmp_path, _yesterday(10))
    night_of(loaded, _yesterday(35))
    night_of(loaded, _yesterday(10))
    other = _as_another_pipeline(tmp_path, "b", slo={})
    _held(other)
    first, second = page_of(client, "/").needs()
    assert first[0].startswith(f"held b {DAY}")
    assert second[0].startswith(f"late p 33 nights, from {_yesterday(34)} to {_yesterday()} for")
    assert second[2] == [
        f"Score {_yesterday(34)} to {_yesterday(11)}",
        f"Score {_yesterday(9)} to {_yesterday()}",
    ]
    [need] = needs(loaded, recent(loaded))
    assert [way.command for way in need.remedies] == [
        f"nocturne score p --date {_yesterday(34)} --to {_yesterday(11)}",
        f"nocturne score p --date {_yesterday(9)} --to {_yesterday()}",
    ], "what is published between them is left alone"
    calendar = page_of(client, f"/p?first={_yesterday(34)}&last={_yesterday()}")
    filled = [field.get("value") for field in calendar.root.iterfind(".//form//input[@value]")]
    assert filled == [_yesterday(34), _yesterday()]


def test_many_held_nights_of_one_pipeline_hide_no_other(
    project: Make, tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nocturne_airflow.page import overview

    monkeypatch.setattr(overview, "_OF_ONE", 2)
    monkeypatch.setattr(overview, "_NEEDS", 3)
    loaded = project()
    other = _as_another_pipeline(tmp_path, "b")
    _held(other, DAYS[0])
    for day in DAYS[:4]:
        _held(loaded, day)
    page = page_of(client, "/")
    titles = [title.split(" for ")[0] for title, _, _ in page.needs()]
    assert sorted(title.split()[1] for title in titles) == ["b", "p", "p"]
    assert "And 2 more" in page.text


def test_failed_nights_come_before_held_and_late_ones(
    project: Make, tmp_path: Path, client: Any
) -> None:
    loaded = project(slo__within_minutes=0.01)
    _day_of_input(tmp_path, _yesterday(2))
    night_of(loaded, _yesterday(2))
    run = scored(loaded, DAYS[0])
    at = "2024-01-02T00:00:00+00:00"
    run.state.write_status(RunStatus.of(run.plan, "failed", "score", "it broke", at))
    _held(loaded)
    kinds = [title.split()[0] for title, _, _ in page_of(client, "/").needs()]
    assert kinds == ["failed", "held", "late"]


def _whole(make: Make, root: Path, **changes: Any) -> Loaded:
    loaded = make(input__partition={}, input__path="table", **changes)
    (root / "table").mkdir()
    pq.write_table(sample(600), root / "table" / "part-0.parquet")
    return loaded


def _published_before(loaded: Loaded, days: int) -> None:
    """As if it were published, and its input looked at, some days ago."""
    manifest = night_of(loaded, _yesterday())
    then = dt.datetime.now(dt.UTC) - dt.timedelta(days=days)
    state = Places.of(loaded).state.partition(manifest.partition)
    path = Path(str(state.manifest_file(manifest.id)))
    content = json.loads(path.read_text()) | {"published": then.isoformat(timespec="seconds")}
    path.write_text(json.dumps(content))
    write(state.confirmed_file, Confirmed(then.isoformat(timespec="seconds")))


def test_a_table_without_partitions_is_late_if_its_last_run_has_not_come(
    project: Make, tmp_path: Path, client: Any
) -> None:
    loaded = _whole(project, tmp_path, slo__within_minutes=0.01)
    _published_before(loaded, 3)
    [(title, why, buttons)] = page_of(client, "/").needs()
    assert title.startswith("late p all")
    assert "it was due at" in why
    assert buttons == ["Score again"]
    prepare(loaded, Partition("all"), dry_run=True)  # a look of a person is no run
    assert page_of(client, "/").needs() != []
    assert prepare(loaded, Partition("all")).action == "nothing"
    assert page_of(client, "/").needs() == []


def test_a_table_without_partitions_is_not_late_before_its_deadline(
    project: Make, tmp_path: Path, client: Any
) -> None:
    midnight = dt.datetime.now(dt.UTC).replace(hour=0, minute=0)
    minutes = (dt.datetime.now(dt.UTC) - midnight).total_seconds() / 60 + 5
    loaded = _whole(project, tmp_path, slo__within_minutes=minutes)
    _published_before(loaded, 1)
    assert page_of(client, "/").needs() == []
    _published_before(loaded, 2)
    assert page_of(client, "/").needs()[0][0].startswith("late p all")


@pytest.mark.parametrize("is_current", [True, False])
def test_an_answer_is_given_to_the_run_that_asks_about_what_is_held(
    project: Make, client: Any, monkeypatch: pytest.MonkeyPatch, is_current: bool
) -> None:
    from nocturne_airflow.page import night
    from nocturne_airflow.page.gates import Asking

    run = _held(project())
    name = Path(str(run.path)).name
    waits = [Asking("manual__1", name if is_current else "0123456789abcdef")]
    monkeypatch.setattr(night, "asking", lambda names, session: {("p", DAY): waits})
    page = page_of(client, f"/p/{DAY}")
    [approve] = [b for b in page.root.iterfind(".//button") if b.text == "Approve"]
    assert approve.get("data-act") == ("answer" if is_current else "decide")
    assert approve.get("data-run") == "manual__1"  # else it is ended, and another decides
    assert approve.get("data-of") == name
