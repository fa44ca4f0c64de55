"""Publishes and gc keep apart in a store, whatever dies."""

from __future__ import annotations

import os
import signal
import time

import pytest

from forked import in_child
from nocturne.errors import RetryableError, Superseded
from nocturne.objects import ObjectPath
from nocturne.store import leases
from nocturne.store.leases import CLEANING, PUBLISHING, leased
from object_store import Bucket
from store_fixtures import bucket as bucket
from store_fixtures import store_endpoint as store_endpoint


@pytest.fixture
def folder(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> ObjectPath:
    monkeypatch.setattr(leases, "_WAIT_S", 0.2)
    monkeypatch.setattr(leases, "_POLL_S", 0.1)
    return ObjectPath.of(bucket.uri("leases/ds=1"))


def test_who_cleans_and_who_publishes_keep_out_of_each_others_way(
    folder: ObjectPath, bucket: Bucket
) -> None:
    def enter(kind: str) -> None:
        with leased(folder, kind, "p"):
            pass

    def check() -> None:
        published = pytest.raises(Superseded, match="p is being published right now")
        with leased(folder, PUBLISHING, "p"), leased(folder, PUBLISHING, "p"), published:
            enter(CLEANING)
        with leased(folder, CLEANING, "p"), pytest.raises(RetryableError, match="nocturne gc"):
            enter(PUBLISHING)

    in_child(check)
    assert not bucket.keys("leases/")


def test_a_publish_waits_for_gc(folder: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_WAIT_S", 30.0)

    def check() -> None:
        with leased(folder, CLEANING, "p"):
            publishing = leased(folder, PUBLISHING, "p")
            began = time.monotonic()
            monkeypatch.setattr(time, "sleep", lambda _: next(iter(folder.iterdir())).unlink())
            with publishing:
                assert time.monotonic() - began < 10

    in_child(check)


@pytest.mark.parametrize("kind", [PUBLISHING, CLEANING])
def test_a_process_that_was_killed_keeps_nobody_out(
    folder: ObjectPath, bucket: Bucket, kind: str
) -> None:
    def die() -> None:
        with leased(folder, kind, "p"):
            os.kill(os.getpid(), signal.SIGKILL)

    pid = os.fork()
    if not pid:
        die()
    os.waitpid(pid, 0)
    assert len(bucket.keys("leases/")) == 1
    other = CLEANING if kind == PUBLISHING else PUBLISHING

    def go_on() -> None:
        with leased(folder, other, "p"):
            pass

    in_child(go_on)
    assert not bucket.keys("leases/")


def test_that_of_a_process_elsewhere_counts_for_its_time(
    folder: ObjectPath, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("leases/ds=1/publish-0123456789abcdef-7-1234-00000000")

    def clean() -> None:
        with leased(folder, CLEANING, "p"):
            pass

    with pytest.raises(Superseded):
        in_child(clean)
    time.sleep(1.1)
    monkeypatch.setitem(leases._COUNTS_S, PUBLISHING, 0.5)
    in_child(clean)
    assert not bucket.keys("leases/")


def test_a_process_of_another_user_counts_though_nothing_is_seen_of_it(
    folder: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where /proc is mounted with hidepid."""

    def check() -> None:
        def denied(*_: int) -> None:
            raise PermissionError

        with leased(folder, PUBLISHING, "p"):
            monkeypatch.setattr(os, "kill", denied)
            monkeypatch.setattr(leases, "_started", lambda _: "")
            with pytest.raises(Superseded), leased(folder, CLEANING, "p"):
                pass

    in_child(check)


def test_who_takes_too_long_gives_up(folder: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    def check() -> None:
        with leased(folder, CLEANING, "p") as lease:
            lease.check()
            monkeypatch.setitem(leases._COUNTS_S, CLEANING, 0.0)
            with pytest.raises(RetryableError, match="took so long"):
                lease.check()

    in_child(check)
