"""How partitions stand at a glance: as ``status`` says it, for as few files as are asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nocturne import config
from nocturne.config import Loaded
from nocturne.errors import Held
from nocturne.pipeline import board
from nocturne.pipeline.board import newest, squares
from nocturne.pipeline.decisions import reject_held
from nocturne.pipeline.judging import judge
from nocturne.pipeline.layout import Layout
from nocturne.pipeline.publishing import publish_run
from nocturne.pipeline.status import status
from nocturne.store import state
from pipeline.conftest import DAYS, night_of, scored

MakeProject = Callable[..., Loaded]


def test_a_square_says_what_status_says(project: MakeProject, tmp_path: Path) -> None:
    suite = {
        "name": "s",
        "expectations": [{"type": "expect_table_row_count_to_equal", "kwargs": {"value": 1}}],
    }
    project(quality__max_quarantined=0.5)
    loaded = config.load("p")
    published = night_of(loaded, DAYS[0])
    (tmp_path / "conf" / "expectations" / "s.json").write_text(json.dumps(suite))
    holding = config.load("p", overrides={"quality.output_suite": "s.json"})
    for day in DAYS[1:3]:
        run = scored(holding, day)
        judge(run)
        with pytest.raises(Held):
            publish_run(run)
    reject_held(holding, config.partition({"ds": "%Y-%m-%d"}, DAYS[2]), "ada", "no")
    running = scored(loaded, DAYS[3])
    state.touch(
        running.state_dir,
        state.Current(
            "running", "score", running.run_key, running.run_dir, 1, 600, 150, "", state.now()
        ),
    )

    asked = list(config.span(loaded.pipeline.input.partition, DAYS[0], "2024-01-06"))
    found = list(squares(loaded, asked))
    said = {row["partition"]: row for row in status(loaded)}
    assert [square.key for square in found] == [partition.key for partition in asked]
    stands = [square.stands for square in found]
    assert stands == ["published", "held", "rejected", "running", "missing", "missing"]
    for square in found[1:4]:
        assert (square.stands, square.message) == (
            said[square.key]["state"],
            said[square.key]["message"],
        )
    assert (found[0].rows, found[0].model_version) == (published.rows_published, 1)
    assert (found[3].done, found[3].of) == (150, 600)


def test_a_manifest_is_read_once(project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> None:
    project(drift__floor=100)
    loaded = config.load("p")
    night_of(loaded, DAYS[0])
    asked = [config.partition(loaded.pipeline.input.partition, DAYS[0])]
    first = list(squares(loaded, asked))
    monkeypatch.setattr(board, "read", None)
    assert list(squares(loaded, asked)) == first
    assert first[0].stands == "published"


def test_files_that_are_not_ours_are_a_failure(project: MakeProject) -> None:
    loaded = project()
    layout = Layout.of(loaded)
    partition = config.partition(loaded.pipeline.input.partition, DAYS[0])
    layout.output(partition).mkdir(parents=True)
    (layout.output(partition) / "other.parquet").touch()
    [square] = squares(loaded, [partition])
    assert square.stands == "failed"
    assert "were not published from here" in square.message


@pytest.mark.parametrize(
    ("layout", "folders", "last"),
    [
        ({"ds": "%Y-%m-%d"}, ["ds=2013-12-31", "ds=2014-01-02", "ds=x"], "2014-01-02"),
        ({"d": "%d.%m.%Y"}, ["d=31.12.2013", "d=02.01.2014"], "2014-01-02"),
        (
            {"ds": "%Y-%m-%d", "hour": "%H"},
            ["ds=2013-12-31/hour=23", "ds=2014-01-01/hour=00", "ds=2014-01-02"],
            "2014-01-01T00",
        ),
        ({"ds": "%Y-%m-%d"}, [], None),
    ],
)
def test_the_newest_partition(
    project: MakeProject,
    tmp_path: Path,
    layout: dict[str, str],
    folders: list[str],
    last: str | None,
) -> None:
    project(input__partition=layout, input__path="elsewhere")
    for folder in folders:
        (tmp_path / "elsewhere" / folder).mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir(exist_ok=True)
    assert newest(config.load("p")) == last


def test_the_newest_that_is_published(project: MakeProject) -> None:
    loaded = project()
    assert newest(loaded) == DAYS[-1]
    assert newest(loaded, published=True) is None
    for day in (DAYS[1], DAYS[0]):
        night_of(loaded, day)
    scored(loaded, DAYS[2])
    assert newest(loaded, published=True) == DAYS[1]
