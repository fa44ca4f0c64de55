"""A damaged or lost object of a state in a store stops what needs it, and takes nothing with it."""

from __future__ import annotations

import re

import pytest

from chaos.conftest import correct
from chaos.nights import DAY, Root
from chaos.test_maintenance import nocturne
from nocturne.operate.status import statuses

pytestmark = [
    pytest.mark.long,
    pytest.mark.parametrize("table_format", ["delta on s3", "iceberg on s3"]),
]

KINDS = {
    "format.json": "",
    "table.json": "",
    "manifests/": "000002",
    "models/.*/encoding.json": "",
    "models/.*/model.pt2": "",
    "quarantine/": "",
    "attempts/": "",
    "judgement-": "",
    "judgement.json": "",
    "profile.json": "",
    "report.html": "",
    "results/": "",
    "run-": "",
    "run.json": "",
    "settings.json": "",
    "current.json": "current",
    "fingerprints.json": "",
    "trials/": "",
}
"""Objects of the state: what is to be in the message of `status` if they are damaged."""

COMMANDS = (
    ("verify", "--date", DAY),
    ("report", "--from", DAY, "--to", DAY),
    ("gc", "--older-than", "0", "--yes"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_object_takes_nothing_with_it(root: Root, kind: str) -> None:
    assert root.bucket is not None
    correct(root)
    assert root.night() == 0
    root.configure("quality", max_quarantined=0.0)
    correct(root, 51)
    assert root.night() == 3
    assert root.gc() == 0
    state = root.place("runs").key.partition("/runs/")[0]  # type: ignore[union-attr]
    meant = [key for key in root.bucket.keys(state) if re.search(rf"/{kind}|/[^/]*{kind}", key)]
    assert meant
    published, there = root.published(), {*root.bucket.keys(state)}

    for key in meant[:1] + meant[-2:]:
        content = root.bucket.get(key)
        for damaged in (content[: len(content) // 2], b"{", None):
            if damaged is None:
                root.bucket.delete(key)
            else:
                root.bucket.put(key, damaged)
            [night] = root.ask(lambda: statuses(root.load()))
            assert night.state in ("held", "failed", "published")
            if damaged is not None and KINDS[kind] in key:
                assert KINDS[kind] in night.message
            for words in COMMANDS:
                done = nocturne(root, *words)
                assert done.exit_code in (0, 1), (key, words, done.output)
                assert "Error:" not in done.output, (key, words, done.output)
            assert root.published() == published
            if damaged is not None:
                assert there - {*root.bucket.keys(state)} == set(), "gc removed more than garbage"
            missing = there - {*root.bucket.keys(state)} - {key}
            assert not [name for name in missing if "/manifests/" in name or "/models/" in name]
            if not missing:
                root.bucket.put(key, content)
                continue
            # Nothing is known of a held night without its status, of a version without manifest.
            assert {"current.json": "/runs/", "manifests/": "000001"}[kind] in key + str(missing)
            if kind == "current.json":
                assert root.night() == 3
            else:
                root.bucket.put(key, content)
            there = {*root.bucket.keys(state)}

    root.check()
    assert root.night() == 3
    assert nocturne(root, "approve", "--date", DAY).exit_code == 0
    root.check()
