"""Published nights move to another place and format: the same rows, verified, with their state."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from commands import done
from conftest import sample
from forked import in_child
from formats import CATALOG, OUTPUT, catalog_in
from nocturne import config
from nocturne.config import Loaded
from nocturne.errors import ConfigError
from nocturne.objects import Location
from nocturne.objects.reading import native
from nocturne.operate.decisions import adopt_present, roll_back
from nocturne.operate.move import Moved, move, moved_pipeline
from nocturne.operate.verify import verify_partition
from nocturne.pipeline.nights import PublishedNights
from nocturne.pipeline.places import Places
from nocturne.pipeline.runs import as_planned
from nocturne.records.manifest import Accepted, Manifest
from nocturne.records.partition import Partition
from nocturne.store.failpoints import VARIABLE
from nocturne.store.partition_state import now
from nocturne.store.record_files import write
from object_store import Bucket
from pipeline.conftest import DAYS, night_of, run_of
from store_fixtures import bucket as bucket
from store_fixtures import store_endpoint as store_endpoint

Project = Callable[..., Loaded]
PINNED = {"scoring__kernel": "graph", "scoring__micro_batch": 64}


@pytest.fixture
def places(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, dict]:
    """Format -> what ``output`` says for it, each in a place of its own."""
    monkeypatch.setenv(CATALOG, catalog_in(tmp_path))
    return {
        name: {
            "path": bucket.uri(f"{name[:5]}/scores") if name.endswith("s3") else f"{name}/scores",
            "format": "parquet",
            **settings,
        }
        for name, settings in OUTPUT.items()
    }


def at(place: Mapping[str, str]) -> Loaded:
    return config.load("p", overrides={f"output.{key}": value for key, value in place.items()})


def partition(loaded: Loaded, day: str) -> Partition:
    return config.partition(loaded.pipeline.input.partition, day)


def published(loaded: Loaded, *days: str) -> None:
    """Publish these days, each in a process of its own."""
    for day in days:
        in_child(lambda day=day: night_of(loaded, day))


def moved(loaded: Loaded, place: Mapping[str, str]) -> list[Moved]:
    settings = {"table": None, "state": None, **place}
    return in_child(lambda: move(loaded, moved_pipeline(loaded, **settings), lambda _: None))


def manifest_of(loaded: Loaded, day: str) -> Manifest:
    night = partition(loaded, day)
    return in_child(lambda: PublishedNights(loaded).manifest(night))


def rows(loaded: Loaded, day: str) -> list[dict[str, object]]:
    """The scores of a day as its table has them, without the columns of the partition."""

    def read() -> list[dict[str, object]]:
        night = partition(loaded, day)
        output = Places.of(loaded).output(night)
        files = [pq.ParquetFile(native(output.file(name))).read() for name in output.files()]
        found = [
            table.drop_columns([c for c in ("ds",) if c in table.column_names]) for table in files
        ]
        return sorted(
            pa.concat_tables(found, promote_options="permissive").to_pylist(),
            key=lambda row: str(row["id"]),
        )

    return in_child(read)


def problems(loaded: Loaded, day: str, replay: int | None = None) -> list[object]:
    night = partition(loaded, day)

    def found() -> list[object]:
        verified = verify_partition(loaded, night, replay=replay)
        return [*verified.problems, *(r for r in verified.replayed if not r.ok)]

    return in_child(found)


def deliver(root: Path, day: str, seed: int = 99) -> None:
    """The day's file comes again, with other rows."""
    path = root / "data" / f"ds={day}" / "part-0.parquet"
    pq.write_table(sample(600, seed), path, row_group_size=250)


@pytest.mark.parametrize(
    "target",
    [
        "delta on s3",
        pytest.param("iceberg on s3", marks=pytest.mark.long),
        pytest.param("delta", marks=pytest.mark.long),
        pytest.param("iceberg", marks=pytest.mark.long),
    ],
)
def test_a_pipeline_moves_and_back(
    project: Project, places: Mapping[str, dict], tmp_path: Path, target: str
) -> None:
    loaded = project(**PINNED, quality__max_quarantined=0.5)
    published(loaded, *DAYS[:2])
    deliver(tmp_path, DAYS[0])
    published(loaded, DAYS[0])
    before = {day: rows(loaded, day) for day in DAYS[:2]}

    nights = moved(loaded, places[target])

    there = at(places[target])
    assert nights == [Moved(d, manifest_of(loaded, d).id, 600) for d in DAYS[:2]]
    assert {day: rows(there, day) for day in DAYS[:2]} == before
    assert moved(loaded, places[target]) == nights, "nothing is left to do"
    assert not [problem for day in DAYS[:2] for problem in problems(there, day)]
    settings = in_child(lambda: as_planned(run_of(there, manifest_of(there, DAYS[1]))).pipeline)
    assert settings.output.path == places[target]["path"]
    # Files of an Iceberg table have a column more, so their splits have other keys.
    again = in_child(lambda: night_of(there, DAYS[1]))
    assert again.number == (1 if "delta" in target else 2)
    deliver(tmp_path, DAYS[1])
    newer = in_child(lambda: night_of(there, DAYS[1]))
    night = partition(loaded, DAYS[1])
    restored = in_child(lambda: roll_back(there, night, None, "ada"))
    assert restored.restores == again.id
    assert newer.number == again.number + 1

    back = {"path": "back/scores", "format": "parquet"}
    assert [one.problem for one in moved(there, back)] == ["", ""]
    assert {day: rows(at(back), day) for day in DAYS[:2]} == before
    assert not problems(at(back), DAYS[1], replay=0)  # its input has changed
    assert rows(loaded, DAYS[0]) == before[DAYS[0]], "the old place is as it was"


@pytest.mark.long
def test_a_move_goes_on_where_it_was_killed(
    project: Project, places: Mapping[str, dict], tmp_path: Path
) -> None:
    loaded = project(**PINNED)
    published(loaded, *DAYS[:3])
    place = places["delta on s3"]
    words = ("move", "p", "--to", place["path"], "--format", "delta", "--json")
    for point in ("record.written@2", "record.written@5", "record.written@2"):
        killed = done(*words, **{VARIABLE: point})
        assert killed.returncode == -9, killed.stderr
    deliver(tmp_path, DAYS[0])
    published(loaded, DAYS[0])

    ended = done(*words)

    assert ended.returncode == 0, ended.stderr
    assert f"path: {place['path']}" in ended.stderr
    nights = json.loads(ended.stdout.splitlines()[-1])
    assert [night["partition"] for night in nights] == [*DAYS[:3]]
    assert not [problem for day in DAYS[:3] for problem in problems(at(place), day)]
    assert manifest_of(at(place), DAYS[0]).id == manifest_of(loaded, DAYS[0]).id
    published(loaded, DAYS[3])
    assert len(moved(loaded, place)) == 4, "nights that came since"


def test_nothing_to_move_is_said_and_is_no_success(project: Project) -> None:
    project(**PINNED)
    ended = done("move", "p", "--to", "other/scores")
    assert ended.returncode == 1
    assert "nothing of p is published in out/scores" in ended.stderr
    assert "To publish there" not in ended.stderr


def test_the_lines_that_a_move_says_are_yaml_whatever_the_path(
    project: Project, tmp_path: Path
) -> None:
    published(project(**PINNED), DAYS[0])
    for odd in ("other/sco #res", "other/Größe: 'x'", "other/" + " ".join(20 * ["long"])):
        ended = done("move", "p", "--to", odd, "--format", "parquet")
        assert ended.returncode == 0, ended.stderr
        _, _, said = ended.stderr.partition("p.yaml:\n")
        lines = [line for line in said.splitlines() if line.startswith(("output:", "  "))]
        assert yaml.safe_load("\n".join(lines)) == {"output": {"path": odd, "format": "parquet"}}


@pytest.mark.parametrize("old", ["parquet", pytest.param("delta on s3", marks=pytest.mark.long)])
def test_a_night_whose_rows_are_gone_is_named_and_counted(
    project: Project, places: Mapping[str, dict], bucket: Bucket, tmp_path: Path, old: str
) -> None:
    loaded = project(**PINNED)
    if old != "parquet":
        loaded = at(places[old])
    published(loaded, *DAYS[:2])
    if old == "parquet":
        shutil.rmtree(tmp_path / "out/scores" / f"ds={DAYS[1]}")
    else:
        for key in bucket.keys("delta/scores/"):
            bucket.delete(key)
    *_, night = moved(loaded, {"path": "other/scores", "format": "parquet"})
    assert night.partition == DAYS[1]
    assert "it has manifest 000001-" in night.problem
    assert "has no rows of it" in night.problem
    if old == "parquet":
        ended = done("move", "p", "--to", "other/scores", "--format", "parquet")
        assert ended.returncode == 1
        assert "1 of 2 published nights are in other/scores" in ended.stderr
        shutil.rmtree(tmp_path / f"out/_nocturne/scores/ds={DAYS[1]}/manifests")
        assert [n.ok for n in moved(loaded, {"path": "other/scores", "format": "parquet"})] == [
            True
        ]


@pytest.mark.long
@pytest.mark.parametrize(
    ("old", "new"), [("state", "delta on s3"), ("state", "parquet"), ("iceberg", "delta")]
)
def test_the_lines_that_a_move_says_are_those_to_write(
    project: Project,
    places: Mapping[str, dict],
    bucket: Bucket,
    tmp_path: Path,
    old: str,
    new: str,
) -> None:
    project(**PINNED)
    settings = tmp_path / "conf" / "pipelines" / "p.yaml"
    tree = yaml.safe_load(settings.read_text())
    state = {"path": bucket.uri("one/scores"), "format": "delta", "state": bucket.uri("state/p")}
    tree["output"] |= state if old == "state" else places[old]
    settings.write_text(yaml.safe_dump(tree))
    published(config.load("p"), DAYS[0])
    ended = done("move", "p", "--to", places[new]["path"], "--format", places[new]["format"])
    assert ended.returncode == 0, ended.stderr
    _, _, said = ended.stderr.partition("p.yaml:\n")
    lines = [line for line in said.splitlines() if line.startswith(("output:", "  "))]
    tree["output"] |= yaml.safe_load("\n".join(lines))["output"]
    settings.write_text(yaml.safe_dump(tree))
    ended = done("verify", "p", "--date", DAYS[0])
    assert ended.returncode == 0, ended.stderr
    assert config.load("p").pipeline.output.state is None


def test_what_can_t_be_moved_is_said(project: Project, places: Mapping[str, dict]) -> None:
    loaded = project(**PINNED)
    published(loaded, *DAYS[:2])
    with pytest.raises(ConfigError, match="/out/scores is there too, or inside"):
        moved(loaded, {"path": "out/scores", "format": "parquet"})
    with pytest.raises(ConfigError, match="Use format: delta or iceberg"):
        moved(loaded, {"path": places["delta on s3"]["path"], "format": "parquet"})

    output = Places.of(loaded).output(partition(loaded, DAYS[0]))
    damaged = output.file(next(iter(output.files())))
    os.truncate(str(damaged), 100)
    first, second = moved(loaded, places["delta on s3"])
    assert (first.ok, second.ok) == (False, True)
    assert "has 100 bytes, the manifest says" in first.problem

    # Somebody else's night is there.
    place = places["delta"]
    other = at(place)
    in_child(lambda: night_of(other, DAYS[1]))
    [_, there] = moved(loaded, place)
    assert (there.ok, there.problem) == (True, ""), "it is the same night"


@pytest.mark.long
def test_a_table_takes_no_night_of_another_line(
    project: Project, places: Mapping[str, dict], tmp_path: Path
) -> None:
    loaded, place = project(**PINNED), places["delta"]
    published(loaded, *DAYS[:2])
    assert [night.ok for night in moved(loaded, place)] == [True, True]
    deliver(tmp_path, DAYS[0])
    newer = in_child(lambda: night_of(at(place), DAYS[0]))  # switched
    for seed in (98, 97):
        deliver(tmp_path, DAYS[0], seed)
        published(loaded, DAYS[0])
    first, second = moved(loaded, place)
    assert (first.ok, second.ok) == (False, True)
    assert "which was never in force where" in first.problem
    assert manifest_of(at(place), DAYS[0]) == newer

    other = tmp_path / "conf" / "pipelines" / "q.yaml"
    other.write_text((tmp_path / "conf" / "pipelines" / "p.yaml").read_text())
    stranger = config.load("q", overrides={"output.path": "q/scores"})
    in_child(lambda: night_of(stranger, DAYS[1]))
    with pytest.raises(ConfigError, match="has the scores of the pipeline 'p'; two pipelines"):
        moved(stranger, place)


@pytest.mark.parametrize(
    "target",
    [
        "parquet",
        *(pytest.param(name, marks=pytest.mark.long) for name in ("delta on s3", "delta")),
    ],
)
@pytest.mark.parametrize("is_noted", [True, False])
def test_two_pipelines_share_no_table_even_if_they_share_no_night(
    project: Project,
    places: Mapping[str, dict],
    bucket: Bucket,
    tmp_path: Path,
    target: str,
    is_noted: bool,
) -> None:
    """Also where an earlier version did not note whose the state is."""
    loaded = project(**PINNED)
    place = {**places[target], "path": places[target]["path"].replace("parquet/", "other/")}
    settings = (tmp_path / "conf/pipelines/p.yaml").read_text()
    (tmp_path / "conf/pipelines/q.yaml").write_text(settings)
    q = config.load("q", overrides={f"output.{key}": value for key, value in place.items()})
    published(q, DAYS[1])
    published(loaded, DAYS[0])
    if not is_noted:
        _forget_owner(q, bucket)
    before = files_of(q, bucket)
    with pytest.raises(ConfigError, match="has the scores of the pipeline 'q'; two pipelines"):
        moved(loaded, place)
    with pytest.raises(ConfigError, match="Give 'p' an output.path of its own; if it is 'q' with"):
        published(at(place), DAYS[2])
    assert files_of(q, bucket) == before, "nothing was written"
    published(q, DAYS[0])
    with pytest.raises(ConfigError, match="has the scores of the pipeline 'q'"):
        published(at(place), DAYS[0])


def state_of(loaded: Loaded) -> Location:
    return Places.of(loaded).state.root


def files_of(loaded: Loaded, bucket: Bucket) -> set[str]:
    """What is in the place of the scores and of their state."""
    root = state_of(loaded)
    if isinstance(root, Path):
        return {str(path) for path in root.parent.parent.rglob("*")}
    return {*bucket.keys()}


def _forget_owner(loaded: Loaded, bucket: Bucket) -> None:
    """The state becomes as earlier versions wrote it."""
    root = state_of(loaded)
    if isinstance(root, Path):
        (root / "table.json").unlink()
    else:
        table = {"version": 1, "table": loaded.pipeline.output.path}
        bucket.put(f"{root.key}/table.json", json.dumps(table).encode())


@pytest.mark.parametrize("to", ["out", "out/scores/sub", "out/_nocturne/scores/x"])
def test_a_place_in_or_around_the_old_one_is_refused(project: Project, to: str) -> None:
    loaded = project(**PINNED)
    published(loaded, DAYS[0])
    with pytest.raises(ConfigError, match="is there too, or inside, or around"):
        moved(loaded, {"path": to, "format": "delta"})


def test_the_types_of_a_lake_are_those_of_what_is_taken_over_later(
    project: Project, places: Mapping[str, dict], tmp_path: Path
) -> None:
    """A split that is taken over has the file that was moved, not the one that was scored."""
    loaded = project(**PINNED, output__passthrough=["word", "at", "gap"])
    for path in (tmp_path / "data").rglob("*.parquet"):
        table = pq.read_table(path, partitioning=None)
        zone = pa.timestamp("us", "Europe/Berlin")
        table = table.append_column("at", pa.array(range(len(table)), pa.int64()).cast(zone))
        gaps = pa.array([float("nan") if n % 3 else None for n in range(len(table))])
        pq.write_table(table.append_column("gap", gaps), path, row_group_size=250)
    published(loaded, DAYS[0])
    assert not problems(loaded, DAYS[0]), "NaN is bit-equal to NaN"
    assert [night.problem for night in moved(loaded, places["delta"])] == [""]
    late = pq.read_table(tmp_path / "data" / f"ds={DAYS[1]}" / "part-0.parquet", partitioning=None)
    pq.write_table(late, tmp_path / "data" / f"ds={DAYS[0]}" / "part-1.parquet")
    there = at(places["delta"])
    second = in_child(lambda: night_of(there, DAYS[0]))
    assert second.rows_published == 1200
    assert not problems(there, DAYS[0])


def test_what_is_not_as_it_was_published_does_not_move(
    project: Project, places: Mapping[str, dict], tmp_path: Path
) -> None:
    loaded, place = project(**PINNED), places["delta"]
    published(loaded, *DAYS[:3])
    state = tmp_path / "out" / "_nocturne" / "scores"
    [judgement] = state.glob(f"ds={DAYS[0]}/runs/*/judgement.json")
    judgement.write_text(judgement.read_text().replace("600", "601", 1))
    [judgement] = state.glob(f"ds={DAYS[1]}/runs/*/judgement.json")
    judgement.unlink()
    shutil.rmtree(state / f"ds={DAYS[2]}")
    first, second, third = moved(loaded, place)
    assert "judgement.json has changed since" in first.problem
    assert "judgement.json is missing" in second.problem
    assert "files that were not published from here" in third.problem


def test_what_a_person_decides_later_moves_too(
    project: Project, places: Mapping[str, dict], tmp_path: Path
) -> None:
    loaded, place = project(**PINNED), places["delta"]
    published(loaded, DAYS[0])
    moved(loaded, place)
    manifest = manifest_of(loaded, DAYS[0])
    old, new = (Places.of(one).state.partition(manifest.partition) for one in (loaded, at(place)))
    write(old.accepted(manifest.id), Accepted("ada", now(), manifest.id))
    moved(loaded, place)
    assert new.accepted(manifest.id).is_file()


def test_an_unpartitioned_table_moves(
    project: Project, places: Mapping[str, dict], tmp_path: Path
) -> None:
    loaded = project(**PINNED, input__path=f"data/ds={DAYS[0]}", input__partition={})
    published(loaded, DAYS[0])
    [night] = moved(loaded, places["delta on s3"])
    assert (night.partition, night.rows, night.problem) == ("all", 600, "")


@pytest.mark.long
def test_rows_of_another_program_move_again_under_other_names(
    project: Project, places: Mapping[str, dict], tmp_path: Path
) -> None:
    project(**PINNED)
    loaded = at(places["delta"])
    published(loaded, DAYS[0])
    place = places["delta on s3"]

    def change(score: float) -> None:
        from deltalake import DeltaTable

        DeltaTable(str(loaded.path(loaded.pipeline.output.path))).update({"score": str(score)})
        night = partition(loaded, DAYS[0])
        adopt_present(loaded, night, "ada")

    for score in (0.25, 0.5):
        in_child(lambda score=score: change(score))
        assert [night.problem for night in moved(loaded, place)] == [""]
        assert {row["score"] for row in rows(at(place), DAYS[0])} == {score}
        assert not problems(at(place), DAYS[0], replay=0)
    names = [file.path for file in manifest_of(at(place), DAYS[0]).outputs]
    before = in_child(
        lambda: Places.of(at(place)).state.partition(partition(loaded, DAYS[0])).history()
    )
    assert not {f.path for m in before[:-1] for f in m.outputs} & {*names}


def test_a_folder_keeps_the_version_that_a_move_replaces(project: Project, tmp_path: Path) -> None:
    loaded, place = project(**PINNED), {"path": "other/scores", "format": "parquet"}
    published(loaded, DAYS[0])
    moved(loaded, place)
    first = manifest_of(at(place), DAYS[0])
    for seed in (1, 2):
        deliver(tmp_path, DAYS[0], seed)
        published(loaded, DAYS[0])
    moved(loaded, place)
    there = manifest_of(at(place), DAYS[0])
    assert (there.number, there.replaces) == (3, first.id)
    night = partition(loaded, DAYS[0])
    restored = in_child(lambda: roll_back(at(place), night, None, "ada"))
    assert restored.restores == first.id
    assert not problems(at(place), DAYS[0], replay=0)


def test_where_the_state_was_lost_nothing_is_moved(
    project: Project, places: Mapping[str, dict], tmp_path: Path
) -> None:
    loaded, place = project(**PINNED), places["delta"]
    published(loaded, DAYS[0])
    moved(loaded, place)
    there = at(place)
    shutil.rmtree(Places.of(there).state.partition(partition(loaded, DAYS[0])).folder)

    def delete() -> None:
        from deltalake import DeltaTable

        DeltaTable(str(there.path(there.pipeline.output.path))).delete(f"ds = '{DAYS[0]}'")

    in_child(delete)
    [night] = moved(loaded, place)
    assert "was published 1 times before, and what is known of that is gone" in night.problem
    assert in_child(lambda: night_of(there, DAYS[0])).number == 2
