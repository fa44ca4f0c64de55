"""A table in a store that fails: an answer is lost, it is slow, refuses, or is gone for a while."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from chaos import test_lake_inputs
from chaos.conftest import MakeRoot, correct
from chaos.nights import DAY, Root
from chaos.strangers import STRANGERS, Stranger, commits
from chaos.test_maintenance import nocturne
from nocturne.cli import doctor
from nocturne.objects import store
from nocturne.operate.status import statuses
from object_store import Bucket, serving
from waiting import until


def long(*values: object) -> Any:
    """Parameters that `make test` leaves out."""
    return pytest.param(*values, marks=pytest.mark.long)


pytestmark = pytest.mark.parametrize("table_format", ["delta on s3"])


@pytest.fixture(scope="module")
def failing_store() -> Iterator[Bucket]:
    with serving() as endpoint:
        made = Bucket("first", endpoint)
        made.client.create_bucket(Bucket=made.name)
        yield made


@pytest.fixture
def bucket(failing_store: Bucket) -> Iterator[Bucket]:
    """A bucket that can be made to fail."""
    yield failing_store
    failing_store.fail()


@pytest.fixture
def lake(root: Root, table_format: str) -> Stranger:
    return STRANGERS[table_format](root)


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests are repeated only twice."""
    monkeypatch.setattr(store, "RETRIES", 2)


DELTA_LOG, STATE = "_delta_log", "_nocturne"

REQUESTS: dict[str, dict[str, object]] = {
    "probe": {"method": "PUT", "path": r"/\.nocturne-"},
    "scores": {"method": "PUT", "path": r"/ds=.*/part-"},
    "new table": {"method": "PUT", "path": r"_delta_log/0{20}\.json"},
    "commit": {"method": "PUT", "path": r"_delta_log/0{19}1\.json"},
    "look at the log": {"method": "GET", "path": r"_delta_log/0"},
    "list the log": {"method": "GET", "query": "prefix=.*_delta_log", "after": 2},
    "delete": {"method": "POST", "query": "delete"},
    "plan": {"method": "PUT", "path": r"/runs/.*/run\.json"},
    "model": {"method": "PUT", "path": "/models/"},
    "attempt": {"method": "PUT", "path": "/attempts/"},
    "result": {"method": "PUT", "path": "/results/"},
    "judgement": {"method": "PUT", "path": "/judgement"},
    "status": {"method": "PUT", "path": "/status/"},
    "lease": {"method": "PUT", "path": "/leases/"},
    "manifest": {"method": "PUT", "path": "/manifests/"},
    "quarantine": {"method": "PUT", "path": "/quarantine/"},
    "look at a result": {"method": "GET", "path": f"{STATE}.*/results/"},
    "look at the plan": {"method": "GET", "path": f"{STATE}.*/run.json"},
    "look at an attempt": {"method": "(GET|HEAD)", "path": f"{STATE}.*/attempts/"},
    "list the results": {"method": "GET", "query": "prefix=.*results"},
    "list the state": {"method": "GET", "query": f"prefix=.*{STATE}", "after": 3},
}
"""Those of a night, by what they are for."""


SHORT = {"commit"}


@pytest.mark.parametrize(
    "request_",
    [pytest.param(name, marks=() if name in SHORT else pytest.mark.long) for name in REQUESTS],
)
@pytest.mark.parametrize("times", [1, pytest.param(3, marks=pytest.mark.long)])
def test_an_answer_that_is_lost_is_found(
    make_root: MakeRoot, bucket: Bucket, request_: str, times: int
) -> None:
    root = make_root()
    bucket.fail(**REQUESTS[request_], status=500, code="InternalError", lost=True, times=times)
    assert root.night() == 0
    assert bucket.fail(), "there was such a request"
    root.check()
    assert len(commits(root.scores)) == 2, "one made the table, one published"


@pytest.mark.long
@pytest.mark.parametrize(
    ("command", "request_"),
    [
        ("rollback", {"method": "PUT", "path": DELTA_LOG}),
        ("rollback", {"method": "PUT", "path": "/manifests/"}),
        ("rollback", {"method": "PUT", "path": "/leases/"}),
        ("rollback", {"method": "GET", "path": DELTA_LOG}),
        ("gc", {"method": "PUT", "path": "/leases/"}),
        ("gc", {"method": "POST", "query": "delete"}),
        ("gc", {"method": "GET", "query": "prefix="}),
        ("adopt", {"method": "PUT", "path": "/manifests/"}),
        ("adopt", {"method": "PUT", "path": DELTA_LOG}),
        ("requeue", {"method": "PUT", "path": DELTA_LOG}),
        ("move", {"method": "PUT", "path": "/elsewhere/scores/.*part-"}),
        ("move", {"method": "PUT", "path": f"/elsewhere/scores/{DELTA_LOG}"}),
        ("move", {"method": "PUT", "path": f"/elsewhere/{STATE}.*/manifests/"}),
    ],
)
def test_an_answer_to_a_command_that_is_lost_is_found(
    root: Root, lake: Stranger, bucket: Bucket, command: str, request_: dict[str, object]
) -> None:
    words = ["--date", DAY]
    if command in ("rollback", "gc"):
        correct(root)
        assert root.night() == 0
    if command == "gc":
        words = ["--older-than", "0", "--yes"]
        root.configure("output", keep=0)
    if command == "adopt":
        lake.append()
    if command == "move":
        words = ["--to", str(root.scores.parent / "elsewhere" / "scores")]
    before = commits(root.scores)
    bucket.fail(**request_, status=500, code="InternalError", lost=True, times=1)
    done = nocturne(root, command, *words)
    assert done.exit_code == 0, done.output
    assert bucket.fail() == 1, "there was such a request"
    if command == "move":
        root.configure("output", path=words[1])
        [night] = root.ask(lambda: statuses(root.load()))
        assert night.state == "published", night.message
        verified = nocturne(root, "verify", "--date", DAY)
        assert verified.exit_code == 0, verified.output
        return
    assert len(commits(root.scores)) - len(before) == (0 if command == "gc" else 1)
    assert nocturne(root, "verify", "--date", DAY).exit_code == 0
    if command != "adopt":
        root.check()


@pytest.mark.long
def test_an_answer_that_is_lost_in_the_second_night_is_found(root: Root, bucket: Bucket) -> None:
    correct(root)
    bucket.fail(method="PUT", path="_delta_log", status=503, code="SlowDown", lost=True, times=1)
    assert root.night() == 0
    bucket.fail()
    root.check()
    manifest = root.manifest()
    assert manifest is not None
    assert manifest.number == 2
    assert len(commits(root.scores)) == 3


@pytest.mark.long
def test_a_store_that_fails_now_and_then_is_asked_again(
    make_root: MakeRoot, bucket: Bucket
) -> None:
    root = make_root()
    bucket.fail(path="scores", status=503, code="SlowDown", times=5)
    assert root.night() == 0
    bucket.fail()
    root.check()


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        ({"status": 503, "code": "SlowDown"}, 75, "the store did not answer (503, SlowDown"),
        long(
            {"status": 403, "code": "AccessDenied"},
            1,
            "access denied (403, AccessDenied",
        ),
        long(
            {"status": 400, "code": "ExpiredToken"},
            75,
            "the credentials have expired",
        ),
    ],
)
@pytest.mark.parametrize("path", ["_delta_log/", pytest.param(r"/part-", marks=pytest.mark.long)])
def test_a_store_that_stops_to_take_writes_changes_nothing(
    root: Root,
    lake: Stranger,
    bucket: Bucket,
    capfd: pytest.CaptureFixture[str],
    fault: dict[str, object],
    code: int,
    said: str,
    path: str,
) -> None:
    before = lake.read()
    correct(root)
    bucket.fail(method="PUT", path=path, **fault)
    assert root.night() == code
    assert said in capfd.readouterr().err
    bucket.fail()
    assert lake.read().equals(before)
    assert root.night() == 0
    root.check()
    manifest = root.manifest()
    assert manifest is not None
    assert manifest.number == (3 if "log" in path else 2), "2 may be under way"
    assert root.gc() == 0
    left = {one.name for one in root.output.iterdir()}
    assert len(left) == 36, "the files in force, and those that they replaced"


@pytest.mark.long
@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(
    ("request_", "after"),
    [
        ({"method": "GET", "path": "/in/ds="}, 12),
        ({"method": "PUT", "path": "/attempts/"}, 5),
        ({"method": "PUT", "path": "/results/"}, 5),
    ],
)
def test_credentials_that_expire_while_rows_are_scored_cost_no_split_that_is_done(
    make_root: MakeRoot,
    bucket: Bucket,
    capfd: pytest.CaptureFixture[str],
    request_: dict[str, object],
    after: int,
) -> None:
    root = make_root()
    root.input_bucket = bucket
    folder = root.scores.parent / "in"
    bucket.upload(root.input, f"{folder.key}/{root.input.name}")
    root.configure("input", path=str(folder))
    bucket.fail(**request_, after=after, status=400, code="ExpiredToken")
    assert root.night() == 75
    assert bucket.fail()
    assert "the credentials have expired" in capfd.readouterr().err
    assert root.published() == {}
    done = root.decided()
    assert done
    assert len(done) < 18
    assert root.night() == 0
    assert {name: tag for name, tag in root.decided().items() if name in done} == done
    root.check()


@pytest.mark.long
def test_a_split_in_a_store_says_how_far_it_is_every_ten_seconds_at_most(
    make_root: MakeRoot, bucket: Bucket
) -> None:
    root = make_root()
    root.configure("scoring", split_rows=600)
    bucket.fail(method="PUT", path="/progress/", seconds=0)  # it counts them
    began = time.monotonic()
    assert root.night(throttle=1.2) == 0
    seconds = time.monotonic() - began
    said = bucket.fail()
    splits = len(root.decided())
    assert 1 <= said <= splits * seconds / 10, (said, splits, seconds)


@pytest.mark.long
@pytest.mark.usefixtures("_impatient")
def test_a_store_that_is_gone_after_the_commit_leaves_it_to_the_next_run(
    root: Root, bucket: Bucket, capfd: pytest.CaptureFixture[str]
) -> None:
    correct(root)
    bucket.fail(method="PUT", path="_delta_log", status=500, lost=True, then=503)
    assert root.night() == 75
    assert "Whether the scores are published shows when it can" in capfd.readouterr().err
    bucket.fail()
    assert root.night() == 0
    root.check()
    manifest = root.manifest()
    assert manifest is not None
    assert manifest.number == 2
    assert len(commits(root.scores)) == 3


@pytest.mark.long
def test_a_commit_that_lands_after_we_stopped_to_wait_is_found(
    root: Root, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    correct(root)
    monkeypatch.setattr(store, "TIMEOUT_S", 1)
    bucket.fail(method="PUT", path="_delta_log", seconds=4)
    assert root.night() == 75
    assert "it does not have them yet" in capfd.readouterr().err
    assert len(commits(root.scores)) == 2
    until(lambda: len(commits(root.scores)) == 3, "the commit")
    bucket.fail()
    manifest = root.manifest()
    assert manifest is not None
    assert manifest.number == 2
    root.check()
    assert root.night() == 0
    assert root.manifest() == manifest


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        long(
            {"status": 403, "code": "AccessDenied", "method": "PUT"},
            1,
            "access denied (403",
        ),
        long(
            {"status": 404, "code": "NoSuchBucket"},
            1,
            "there is no s3://first",
        ),
        long(
            {"status": 503, "code": "SlowDown"},
            75,
            "the store did not answer",
        ),
        ({"unconditional": True}, 1, "lets two programs create the same object"),
    ],
)
def test_a_store_that_takes_no_table_is_refused_before_a_row_is_scored(
    make_root: MakeRoot,
    bucket: Bucket,
    capfd: pytest.CaptureFixture[str],
    fault: dict[str, object],
    code: int,
    said: str,
) -> None:
    root = make_root()
    bucket.fail(path="first", **fault)
    assert root.night() == code
    assert said in capfd.readouterr().err
    bucket.fail()
    assert not root.attempts()
    assert root.night() == 0
    root.check()


def test_a_lake_that_is_read_is_refused_by_a_server_that_ignores_conditions(
    make_root: MakeRoot, bucket: Bucket, capfd: pytest.CaptureFixture[str]
) -> None:
    root = make_root()
    root.input_bucket = bucket
    test_lake_inputs.Delta(root).write(test_lake_inputs.day_rows())

    def checked() -> dict[str, doctor.Check]:
        return {check.name: check for check in doctor._pipelines()}

    assert all(check.ok for check in root.ask(checked).values())
    bucket.fail(method="GET", unconditional=True)
    assert root.night() == 1
    assert "ignores conditions (If-Match)" in capfd.readouterr().err
    assert not root.attempts()
    assert "ignores conditions" in root.ask(checked)["p: input"].found
    bucket.fail(method="PUT", unconditional=True)
    said = root.ask(checked)["p: output"]
    assert (said.ok, "lets two programs create the same object" in said.found) == (False, True)
    bucket.fail()
    assert root.night() == 0


@pytest.mark.long
def test_a_slow_store_is_waited_for(make_root: MakeRoot, bucket: Bucket) -> None:
    root = make_root()
    bucket.fail(path=f"{DAY}|_delta_log", seconds=0.3)
    assert root.night() == 0
    bucket.fail()
    root.check()


@pytest.mark.long
@pytest.mark.parametrize("path", ["_delta_log", "/part-"])
def test_a_store_that_is_gone_for_half_a_minute(root: Root, bucket: Bucket, path: str) -> None:
    correct(root)
    bucket.fail(path=path, status=503, code="SlowDown")
    pid = root.start_night()
    time.sleep(30)
    bucket.fail()
    code = root.wait(pid)
    assert code in (0, 75), "it was waited for, or the next run has to"
    assert root.night() == 0
    root.check()
    manifest = root.manifest()
    assert manifest is not None
    assert manifest.number >= 2
    assert len(commits(root.scores)) == 3
