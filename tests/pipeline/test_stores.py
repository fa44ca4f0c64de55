"""Nights whose input is in an object store, as the command line scores them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from commands import done, nocturne
from conftest import sample
from forked import in_child
from nocturne import config
from nocturne.cli import doctor
from nocturne.errors import (
    ConfigError,
    Held,
    InputChanged,
    ModelError,
    PublishError,
    StoreUnavailable,
)
from nocturne.model.tracking import connect
from nocturne.objects import store as stores
from nocturne.objects.listing import unlisted
from nocturne.operate.compare import differences, side_of
from nocturne.operate.compared import compared_column
from nocturne.operate.judged import judged_nights, partitions_until
from nocturne.operate.needs import needs
from nocturne.operate.over_nights import column_over_nights
from nocturne.operate.reports import report_of
from nocturne.operate.rows import quarantined_rows
from nocturne.operate.status import Recent, status_of, statuses, statuses_of
from nocturne.pipeline.places import Places
from nocturne.pipeline.publishing import publish_run
from nocturne.pipeline.recording import judge_run
from nocturne.pipeline.runs import logged_to
from nocturne.records.manifest import Manifest
from nocturne.store.run import Run
from nocturne.worker import scoring, split
from nocturne.worker.slots import DeviceSlot
from object_store import Bucket
from pipeline.conftest import DAYS, judgement_of, night_of, scored
from store_fixtures import bucket as bucket
from store_fixtures import store_endpoint as store_endpoint

Project = Callable[..., config.Loaded]
PINNED = {"scoring__kernel": "graph", "scoring__micro_batch": 64}
FILE = f"in/ds={DAYS[0]}/part-0.parquet"


@pytest.fixture
def remote(project: Project, bucket: Bucket, tmp_path: Path) -> Project:
    """A project that reads its data from the bucket; it has them in data/ too."""

    def make(**changes: object) -> config.Loaded:
        settings = {**PINNED, "input__path": bucket.uri("in"), **changes}
        loaded = project(**settings)
        bucket.upload(tmp_path / "data", "in")
        return loaded

    return make


def beside(**overrides: object) -> config.Loaded:
    """The same pipeline with the local copy of the data, published elsewhere."""
    changes = {key.replace("__", "."): value for key, value in overrides.items()}
    return config.load("p", overrides={"input.path": "data", "output.path": "out/local", **changes})


def hashes(manifest: Manifest) -> list[str]:
    return [file.sha256 for file in manifest.outputs]


def changed(bucket: Bucket, tmp_path: Path) -> None:
    """The first day's file is delivered again, with other rows."""
    pq.write_table(sample(600, 99), tmp_path / "new.parquet", row_group_size=250)
    bucket.put(FILE, (tmp_path / "new.parquet").read_bytes())


@pytest.mark.long
def test_spark_scores_objects_as_files(remote: Project) -> None:
    loaded = remote()
    [night] = nocturne("score", "p", "--date", DAYS[0])
    assert night["outcome"] == "published"
    local = in_child(lambda: night_of(beside(), DAYS[0]))
    published = sorted((loaded.path("out/scores") / f"ds={DAYS[0]}").glob("*.parquet"))
    there = loaded.path("out/local") / f"ds={DAYS[0]}"
    assert [path.read_bytes() for path in published] == [
        (there / file.path).read_bytes() for file in local.outputs
    ]


@pytest.mark.long
def test_commands_read_objects_too(remote: Project, bucket: Bucket, tmp_path: Path) -> None:
    """The life of a night: scored, found again, verified, delivered anew, outdated, rolled back."""
    remote()
    nocturne("score", "p", "--date", DAYS[0])
    assert [n["outcome"] for n in nocturne("score", "p", "--date", DAYS[0])] == ["unchanged"]
    [verified] = nocturne("verify", "p", "--date", DAYS[0], "--replay", "--splits", "0")
    assert {replayed["outcome"] for replayed in verified["replayed"]} == {"bit-equal"}
    states = nocturne("status", "p", "--to", DAYS[1])
    assert [(n["state"], n["input"]) for n in states] == [
        ("published", bucket.uri(f"in/ds={DAYS[0]}")),
        ("missing", bucket.uri(f"in/ds={DAYS[1]}")),
    ]

    changed(bucket, tmp_path)
    said = done("verify", "p", "--since", DAYS[0], "--json")
    assert said.returncode == 1
    [outdated] = json.loads(said.stdout)
    assert outdated["reasons"] == ["changed since it was scored: part-0.parquet"]
    [again] = nocturne("score", "p", "--date", DAYS[0])
    assert again["outcome"] == "published"
    replay = done("verify", "p", "--date", DAYS[0], "--replay", "--splits", "0")
    assert replay.returncode == 0, replay.stderr
    back = nocturne("rollback", "p", "--date", DAYS[0])
    assert Path(back["manifest"]).name.startswith("000003-")


@pytest.mark.long
def test_rows_are_scored_alike_and_content_makes_the_same_run(remote: Project) -> None:
    loaded = remote()
    by_version = in_child(lambda: night_of(loaded, DAYS[0]))
    local = in_child(lambda: night_of(beside(), DAYS[0]))
    content = config.load(
        "p", overrides={"input.fingerprint": "content", "output.path": "out/content"}
    )
    by_content = in_child(lambda: night_of(content, DAYS[0]))
    version = in_child(
        lambda: night_of(beside(input__fingerprint="version", output__path="out/v"), DAYS[0])
    )
    assert hashes(by_version) == hashes(local) == hashes(by_content) == hashes(version)
    assert by_content.run_key == local.run_key
    assert len({local.run_key, by_version.run_key, version.run_key}) == 3


def test_unchanged_files_are_taken_over(remote: Project, bucket: Bucket, tmp_path: Path) -> None:
    loaded = remote()
    late = f"in/ds={DAYS[0]}/part-1.parquet"
    first = in_child(lambda: night_of(loaded, DAYS[0]))
    pq.write_table(sample(100, 5, 9000), tmp_path / "late.parquet")
    bucket.put(late, (tmp_path / "late.parquet").read_bytes())
    second = in_child(lambda: night_of(loaded, DAYS[0]))
    assert hashes(second)[:3] == hashes(first)
    assert second.rows_in == 700
    bucket.put(late, bucket.get(late))  # the same bytes: moto's tags are of the bytes
    assert in_child(lambda: scored(loaded, DAYS[0]).plan.run_key) == second.run_key


@pytest.mark.parametrize("scan", ["none", "pandas"])
def test_expectations_count_the_rows_of_objects(remote: Project, scan: str) -> None:
    loaded = remote(quality__input_suite="in.yaml", quality__scan=scan)
    suite = {
        "name": "in",
        "expectations": [
            {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "id"}},
            {"type": "expect_table_row_count_to_equal", "kwargs": {"value": 600}},
            {"type": "expect_column_max_to_be_between", "kwargs": {"column": "y", "max_value": 9}},
        ],
    }
    (loaded.home / "conf" / "expectations" / "in.yaml").write_text(yaml.safe_dump(suite))

    def check() -> list[bool]:
        judged = judgement_of(loaded, night_of(loaded, DAYS[0]))
        return [expectation.success for expectation in judged.quality.expectations]

    assert in_child(check) == [True, True, True]


# What goes wrong


def test_an_object_replaced_after_planning_ends_the_night(
    remote: Project, bucket: Bucket, tmp_path: Path
) -> None:
    loaded = remote()
    folder = loaded.path("out/scores") / f"ds={DAYS[0]}"

    def check() -> str:
        run = planned(loaded)
        changed(bucket, tmp_path)
        with pytest.raises(InputChanged) as caught:
            split.run_split(run, run.plan.splits[0])
        return str(caught.value)

    assert in_child(check).startswith(f"{bucket.uri(FILE)} was replaced or deleted after planning")
    assert not folder.exists()
    assert in_child(lambda: night_of(loaded, DAYS[0])).rows_published == 600


def planned(loaded: config.Loaded, day: str = DAYS[0]) -> Run:
    from nocturne.pipeline import prepare

    run = prepare(loaded, config.partition(loaded.pipeline.input.partition, day)).run
    assert run is not None
    return run


def test_a_store_that_goes_away_is_waited_for_by_the_next_run(
    remote: Project, bucket: Bucket
) -> None:
    loaded = remote()
    bucket.fail(path=bucket.name, status=503, code="SlowDown")

    def prepare() -> None:
        stores.RETRIES = 1
        planned(loaded)

    with pytest.raises(StoreUnavailable, match="the store did not answer"):
        in_child(prepare)
    bucket.fail()

    def score() -> None:
        stores.RETRIES = 1
        run = planned(loaded)
        split.run_split(run, run.plan.splits[0])
        bucket.fail(path=bucket.name, status=503, code="SlowDown")
        with pytest.raises(StoreUnavailable):
            split.run_split(run, run.plan.splits[1])

    in_child(score)
    bucket.fail()
    assert in_child(lambda: night_of(loaded, DAYS[0])).rows_published == 600


@pytest.mark.long
def test_a_state_is_that_of_one_table(remote: Project, bucket: Bucket) -> None:
    first = remote(
        output__path=bucket.uri("out/scores"), output__format="delta", output__state="state"
    )
    in_child(lambda: night_of(first, DAYS[0]))
    other = {"output.path": bucket.uri("out/other")}
    refused = done("status", "p", NOCTURNE_HOME=str(first.home))
    assert refused.returncode == 0, refused.stderr
    with pytest.raises(ConfigError, match="output.state; if the table was moved, say"):
        in_child(lambda: night_of(config.load("p", overrides=other), DAYS[0]))
    assert not bucket.keys("out/other")


@pytest.mark.long
def test_a_night_of_another_state_is_not_taken_for_ours(
    remote: Project, bucket: Bucket, tmp_path: Path
) -> None:
    """Both have published it as number 1."""
    place = {"output__path": bucket.uri("out/scores"), "output__format": "delta"}
    first = remote(**place, output__state="state")
    in_child(lambda: night_of(first, DAYS[0]))
    changed(bucket, tmp_path)
    elsewhere = {"output.path": bucket.uri("out/other"), "output.state": "two"}
    second = config.load("p", overrides=elsewhere)
    in_child(lambda: night_of(second, DAYS[0]))
    moved = first.home / "two" / "table.json"
    moved.write_text(moved.read_text().replace("out/other", "out/scores"))
    meant = config.load("p", overrides=elsewhere | {"output.path": bucket.uri("out/scores")})
    with pytest.raises(PublishError, match="another state publishes into it too"):
        in_child(lambda: night_of(meant, DAYS[0]))


@pytest.mark.long
@pytest.mark.parametrize("state", ["state", None])
def test_the_status_of_many_nights_takes_no_request_for_each(
    remote: Project, bucket: Bucket, state: str | None, tmp_path: Path
) -> None:
    loaded = remote(
        output__path=bucket.uri("out/scores"), output__format="delta", output__state=state
    )

    def counted(nights: int) -> int:
        before = bucket.requests()
        found = statuses(loaded, None, DAYS[nights - 1])
        assert [night.state for night in found] == ["published"] * nights
        return bucket.requests() - before

    year = [*config.span(loaded.pipeline.input.partition, "2023-03-01", "2024-02-28")]

    def counted_by_page() -> int:
        before = bucket.requests()
        states = [night.state for night in statuses_of(loaded, year)]
        assert (len(states), states.count("published")) == (365, len(DAYS))
        return bucket.requests() - before

    def nights() -> None:
        for day in DAYS:
            night_of(loaded, day)

    def check() -> tuple[int, int, int]:
        return counted(1), counted(len(DAYS)), counted_by_page()

    in_child(nights)
    one, all_, by_page = in_child(check)
    assert all_ <= one  # each manifest was fetched once
    assert by_page <= one, "a year"
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    first, *_ = in_child(lambda: (counted_by_page(),))
    manifests = len(DAYS) if state is None else 0
    assert first <= one + manifests, "on a machine that has none of the manifests"


def test_what_needs_somebody_and_what_was_measured_is_read_from_a_store(
    remote: Project, bucket: Bucket
) -> None:
    """A request for each judged night once, and some listings; none for each night of a year."""
    loaded = remote(output__path=bucket.uri("out/scores"), output__format="delta")

    def nights() -> None:
        for day in DAYS[1:4]:
            night_of(loaded, day)
        run = scored(loaded, DAYS[0], hold="look at it")
        judge_run(run)
        with suppress(Held):
            publish_run(run)

    def looked() -> tuple[list[str], list[str], list[int]]:
        requests = []
        for _ in range(2):
            before = bucket.requests()
            found = needs(loaded, Recent([], []))  # the strip shows none of them any more
            judged = judged_nights(loaded, partitions_until(loaded, DAYS[4], 300))
            column = column_over_nights(judged, "y")
            requests.append(bucket.requests() - before)
        sides = side_of(loaded, DAYS[1]), side_of(loaded, DAYS[2])
        assert {d.column for d in differences(*sides)} == {"x", "y", "word", "score"}
        assert compared_column(loaded, judged[-1], "y") is not None
        assert quarantined_rows(loaded, config.partition({"ds": "%Y-%m-%d"}, DAYS[3])).found == 0
        told = [f"{need.what} {need.key}: {need.why}" for need in found]
        return told, [night.night.key for night in column], requests

    in_child(nights)
    told, keys, (first, again) = in_child(looked)
    assert told == [f"held {DAYS[0]}: look at it"]
    assert keys == list(DAYS[:4])
    assert again < first < 60


@pytest.mark.long
def test_mlflow_has_the_report_of_a_night_in_a_store(in_store: Project) -> None:
    loaded = in_store()

    def artifacts() -> list[str]:
        manifest = night_of(loaded, DAYS[0])
        run_id = judgement_of(loaded, manifest).mlflow_run_id
        client = connect(logged_to(loaded)["tracking_uri"])
        return [one.path for one in client.list_artifacts(run_id)]

    assert "report.html" in in_child(artifacts)


def test_a_table_is_opened_at_its_own_place_or_refused(remote: Project, bucket: Bucket) -> None:
    remote()
    for name in ("out/scores ", "out/ /scores"):
        place = {"output.path": bucket.uri(name), "output.format": "delta", "output.state": "state"}
        with pytest.raises(PublishError, match="a Delta table can't be at"):
            in_child(lambda place=place: night_of(config.load("p", overrides=place), DAYS[0]))
    assert not bucket.keys("out/")


@pytest.mark.long
def test_a_profile_opens_delta_tables_too(
    remote: Project, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = remote(
        output__path=bucket.uri("out/scores"), output__format="delta", output__state="state"
    )
    keys = {
        name: bucket.environment[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    }
    for name in keys:
        monkeypatch.delenv(name)
    lines = [f"{name.lower()} = {value}" for name, value in keys.items()]
    (tmp_path / "credentials").write_text("\n".join(["[work]", *lines]))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "work")
    assert in_child(lambda: night_of(loaded, DAYS[0])).rows_published == 600


def test_a_command_says_what_is_wrong_with_the_store(remote: Project, bucket: Bucket) -> None:
    remote()
    bucket.fail(path=bucket.name, status=403, code="InvalidAccessKeyId")
    refused = done("score", "p", "--date", DAYS[0])
    assert refused.returncode == 1
    assert "access denied (403, InvalidAccessKeyId" in refused.stderr
    assert "Traceback" not in refused.stderr
    bucket.fail(path=bucket.name, status=400, code="ExpiredToken")
    expired = done("score", "p", "--date", DAYS[0])
    assert expired.returncode == 75
    assert "the credentials have expired" in expired.stderr
    bucket.fail()
    missing = done("score", "p", "--date", "2024-02-01")
    assert missing.returncode == 1
    assert f"the table has ds={DAYS[0]} to ds={DAYS[-1]}" in missing.stderr


def test_doctor_looks_at_the_store(remote: Project, bucket: Bucket) -> None:
    remote()

    def found() -> doctor.Check:
        return next(check for check in doctor._pipelines() if check.name == "p: input")

    assert in_child(found).ok
    assert in_child(found).found == bucket.uri("in")
    bucket.fail(path=bucket.name, status=404, code="NoSuchBucket")
    assert not in_child(found).ok
    assert f"there is no s3://{bucket.name}" in in_child(found).found
    bucket.fail(unconditional=True)
    assert not in_child(found).ok
    assert "ignores conditions (If-Match)" in in_child(found).found


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scoring.reader": "spark"}, "scoring.reader: spark reads local files only"),
        ({"quality.scan": "spark"}, "quality.scan: spark reads local files only"),
        ({"input.path": "s3://b/x?sig=secret"}, "credentials belong in the environment"),
        ({"input.path": "s3://b/x#sig=secret"}, "credentials belong in the environment"),
        ({"input.path": "s3://b/x%3Fsig%3Dsecret"}, "credentials belong in the environment"),
        ({"input.path": "s3://me:secret@b/x"}, "credentials belong in the environment"),
        ({"input.path": "s3:/me:secret@b/x"}, "credentials belong in the environment"),
        ({"input.path": "s3:me:secret@b/x"}, "credentials belong in the environment"),
        ({"input.path": "s3:b/x"}, "write s3://bucket/folder, with two slashes"),
        ({"input.path": "https://a/c/x?sv=1&sig=secret"}, "credentials belong in the environment"),
        ({"output.path": "https://a/c?sig=secret"}, "credentials belong in the environment"),
        ({"output.path": "s3:me:secret@b/x"}, "credentials belong in the environment"),
        ({"input.path": "s3a://b/x"}, "the scheme s3a: is not supported"),
    ],
)
def test_what_reads_no_objects_is_refused(
    remote: Project, changes: dict[str, object], said: str
) -> None:
    remote()
    with pytest.raises(ConfigError, match=said.replace("?", r"\?")) as caught:
        config.load("p", overrides=changes)
    assert "secret" not in str(caught.value)


# The state in a store


@pytest.fixture
def in_store(remote: Project, bucket: Bucket) -> Project:
    """A project that has its data, its table and its state in the bucket."""

    def make(**changes: object) -> config.Loaded:
        place = {"output__path": bucket.uri("out/scores"), "output__format": "delta"}
        return remote(**place, **changes)

    return make


@pytest.mark.long
def test_a_night_lives_in_a_store(in_store: Project, bucket: Bucket, tmp_path: Path) -> None:
    """Scored by Spark, found again, verified, delivered anew, rolled back, reported, cleaned."""
    in_store(quality__unique_keys=True)
    [first] = nocturne("score", "p", "--date", DAYS[0])
    assert first["outcome"] == "published"
    assert not [*tmp_path.glob("out/**/manifests"), *tmp_path.glob("out/**/runs")]
    assert [n["outcome"] for n in nocturne("score", "p", "--date", DAYS[0])] == ["unchanged"]
    [verified] = nocturne("verify", "p", "--date", DAYS[0], "--replay", "--splits", "0")
    assert {replayed["outcome"] for replayed in verified["replayed"]} == {"bit-equal"}
    changed(bucket, tmp_path)
    [second] = nocturne("score", "p", "--date", DAYS[0])
    assert second["outcome"] == "published"
    back = nocturne("rollback", "p", "--date", DAYS[0])
    assert back["manifest"].startswith(f"{bucket.uri('out/_nocturne/scores')}/manifests/")
    assert [n["state"] for n in nocturne("status", "p", "--to", DAYS[0])] == ["published"]
    said = done("report", "p", "--from", DAYS[0], "--to", DAYS[0])
    assert said.returncode == 0, said.stderr
    key = said.stdout.strip().removeprefix(f"{bucket.uri('')}").lstrip("/")
    assert b"<html" in bucket.get(key)
    nocturne("gc", "p", "--older-than", "0", "--yes")
    assert nocturne("verify", "p", "--date", DAYS[0])[0]["ok"]
    kinds = {key.split("/")[3] for key in bucket.keys("out/_nocturne/scores/")}
    assert kinds == {
        *("format.json", "table.json", "models", "trials", "reports"),
        *("manifests", "runs", "status"),
    }


@pytest.mark.long
def test_a_query_is_scored_into_a_store(in_store: Project, bucket: Bucket) -> None:
    """Of two drivers, the results of the first count."""
    in_store(
        input__path="data",
        input__sql="SELECT * FROM input WHERE id % 3 = 0",
        scoring__reader="spark",
        quality__unique_keys=True,
    )
    [night] = nocturne("score", "p", "--date", DAYS[0])
    assert (night["outcome"], night["rows_published"]) == ("published", 200)
    [scored] = [k for k in bucket.keys("out/_nocturne/scores/runs/") if k.endswith("scored.json")]
    execution = json.loads(bucket.get(scored))["execution"]
    results = list(bucket.keys(scored.replace("scored.json", "results/")))
    assert results
    assert all(key.endswith(f"-{execution}.json") for key in results)
    assert nocturne("verify", "p", "--date", DAYS[0])[0]["ok"]


def test_a_model_is_fetched_once_and_must_be_what_was_pinned(
    in_store: Project, bucket: Bucket, tmp_path: Path
) -> None:
    loaded = in_store()
    in_child(lambda: night_of(loaded, DAYS[0]))
    models = tmp_path / "cache" / "nocturne" / "models"
    [cached] = [path for path in models.iterdir() if path.is_dir()]
    key = next(k for k in bucket.keys("out/_nocturne/scores/models/") if k.endswith(".pt2"))

    def fetched() -> int:
        run = planned(loaded, DAYS[1])
        shutil.rmtree(cached)
        before = bucket.requests()
        for split_ in run.plan.splits:
            split.run_split(run, split_)
        scoring.load_model(run, DeviceSlot())
        return bucket.requests() - before

    def found() -> int:
        run = planned(loaded, DAYS[2])
        before = bucket.requests()
        for split_ in run.plan.splits:
            split.run_split(run, split_)
        return bucket.requests() - before

    again, first = in_child(found), in_child(fetched)
    files = len([path for path in cached.rglob("*") if path.is_file()])
    assert first - again == files + 1, "its files, listed once"

    damaged = next(cached.rglob("*.pt2"))
    sound = damaged.read_bytes()
    damaged.write_bytes(b"the weights of another")
    in_child(lambda: scoring.load_model(planned(loaded, DAYS[2]), DeviceSlot()) and None)
    assert damaged.read_bytes() == sound, "fetched anew"

    in_child(lambda: planned(loaded, DAYS[3]))
    bucket.put(key, b"another model")
    shutil.rmtree(cached)
    plans = [k for k in bucket.keys("out/_nocturne/scores/runs/") if k.endswith("/run.json")]
    [plan] = [key for key in plans if DAYS[3] in key]

    def refused() -> None:
        run = Run.open(bucket.uri(plan.removesuffix("/run.json")))
        split.run_split(run, run.plan.splits[0])

    with pytest.raises(ModelError, match="is not the copy of model small version 1 that was"):
        in_child(refused)
    assert not cached.exists()


def test_no_model_is_fetched_to_verify_its_digest(in_store: Project, tmp_path: Path) -> None:
    loaded = in_store(model__require_digest=True)
    in_child(lambda: night_of(loaded, DAYS[0]))
    models = tmp_path / "cache" / "nocturne" / "models"
    shutil.rmtree(models)
    assert nocturne("verify", "p", "--date", DAYS[0])[0]["ok"]
    assert not [*models.glob("*")]


@pytest.mark.long
def test_what_is_published_while_its_status_is_read_is_found(
    in_store: Project, bucket: Bucket
) -> None:
    loaded = in_store()

    def check() -> list[str]:
        places = Places.of(loaded)
        night = config.partition(loaded.pipeline.input.partition, DAYS[0])
        night_of(loaded, DAYS[1])
        with places.state.listed():
            with unlisted():
                night_of(loaded, DAYS[0])
            places.table.refresh()
            return [status_of(loaded, night, places).state, places.output(night).in_force() or ""]

    state, id_ = in_child(check)
    assert (state, id_[:7]) == ("published", "000001-")


@pytest.mark.parametrize("state", ["x", "x/scores/state", "x/scores/_delta_log"])
def test_a_state_in_or_around_its_table_is_refused(
    remote: Project, bucket: Bucket, state: str
) -> None:
    place = {"output__path": bucket.uri("x/scores"), "output__format": "delta"}
    loaded = remote(**place, output__state=bucket.uri(state))
    with pytest.raises(ConfigError, match="lie inside one another, so that files"):
        in_child(lambda: night_of(loaded, DAYS[0]))
    assert not bucket.keys("x/")


def test_a_night_that_a_store_does_not_give_is_not_left_out_in_silence(
    in_store: Project, bucket: Bucket
) -> None:
    loaded = in_store()

    def nights() -> None:
        for day in DAYS[:2]:
            night_of(loaded, day)

    def report() -> object:
        stores.RETRIES = 1
        names = loaded.pipeline.input.partition
        return report_of(loaded, [config.partition(names, day) for day in DAYS[:2]], None)

    in_child(nights)
    bucket.fail(path=f"ds={DAYS[1]}.*judgement", status=503, code="SlowDown")
    with pytest.raises(StoreUnavailable):
        in_child(report)
    bucket.fail(path=f"ds={DAYS[1]}.*judgement", status=403, code="AccessDenied")
    with pytest.raises(ConfigError, match="access denied"):
        in_child(report)
    bucket.fail()
    assert in_child(report)
