"""Manifests that are signed when they are published, and checked by ``verify``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from keys import key_pair
from nocturne import config
from nocturne.cli import app
from nocturne.errors import ConfigError, StateError
from nocturne.operate.decisions import roll_back
from nocturne.operate.verify import Verified, verify_partition
from nocturne.pipeline import prepare
from nocturne.pipeline.places import Places
from nocturne.signing import KEY
from pipeline.conftest import DAYS, night_of, project, registry, shift

__all__ = ["project", "registry"]

DAY = DAYS[0]
Project = Callable[..., config.Loaded]


@pytest.fixture
def signing(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> config.Loaded:
    private, public = key_pair(tmp_path / "keys")
    monkeypatch.setenv(KEY, str(private))
    return project(
        output__require_signature=str(public.relative_to(tmp_path)),
        drift__on_drift="warn",
    )


def verified(loaded: config.Loaded) -> Verified:
    return verify_partition(loaded, config.partition({"ds": "%Y-%m-%d"}, DAY))


def file_of(loaded: config.Loaded, id_: str) -> Path:
    state = Places.of(loaded).state.partition(config.partition({"ds": "%Y-%m-%d"}, DAY))
    return Path(str(state.manifest_file(id_)))


def problem(loaded: config.Loaded) -> str:
    [found] = verified(loaded).problems
    assert found.file.startswith("manifests/")
    return found.problem


def test_a_night_is_signed_and_what_is_changed_in_its_manifest_is_seen(
    signing: config.Loaded, tmp_path: Path
) -> None:
    manifest = night_of(signing, DAY)
    assert verified(signing).ok
    path = file_of(signing, manifest.id)
    written = json.loads(path.read_text())
    assert "private" not in path.read_text().lower()
    path.write_text(json.dumps(written | {"approved_by": "somebody"}))
    assert problem(signing) == "its signature does not hold: manifest.json changed"
    path.write_text(json.dumps(written | {"signature": ""}))
    assert problem(signing) == "it is not signed, and output.require_signature names a key"
    path.write_text(json.dumps(dict(reversed(written.items())), indent=4))  # the same, otherwise
    assert verified(signing).ok
    key_pair(tmp_path / "keys")
    assert "Key mismatch" in problem(signing)


def test_a_night_that_can_not_be_signed_is_refused_before_a_row_is_scored(
    signing: config.Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    partition = config.partition({"ds": "%Y-%m-%d"}, DAY)
    monkeypatch.delenv(KEY)
    with pytest.raises(ConfigError, match="set NOCTURNE_SIGNING_KEY to the file of the private"):
        prepare(signing, partition)
    monkeypatch.setenv(KEY, str(key_pair(tmp_path / "others")[0]))
    with pytest.raises(ConfigError, match=r"is not the private key of .*key.pub.pem: .*Key mis"):
        prepare(signing, partition)
    assert not Places.of(signing).state.partition(partition).runs()


def test_without_the_setting_a_key_signs_and_verify_asks_for_nothing(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = project()
    assert night_of(loaded, DAY).signature == ""
    assert verified(loaded).ok
    monkeypatch.setenv(KEY, str(key_pair(tmp_path / "keys")[0]))
    assert night_of(loaded, DAYS[1]).signature != ""


def test_a_rollback_is_signed_anew_unless_what_it_brings_back_was_changed(
    signing: config.Loaded, tmp_path: Path
) -> None:
    first = night_of(signing, DAY)
    shift(signing.home, DAY)
    second = night_of(signing, DAY)
    partition = config.partition({"ds": "%Y-%m-%d"}, DAY)
    restored = roll_back(signing, partition, None, "ada")
    assert restored.restores == first.id
    assert restored.signature not in ("", first.signature)
    assert verified(signing).ok
    path = file_of(signing, second.id)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"approved_by": "mallory"}))
    with pytest.raises(StateError, match="So it is not signed anew, and nothing was changed"):
        roll_back(signing, partition, str(second.number), "ada")
    assert verified(signing).manifest == restored.id


def test_a_moved_night_is_signed_anew(signing: config.Loaded, tmp_path: Path) -> None:
    night_of(signing, DAY)
    done = CliRunner().invoke(app, ["move", "p", "--to", str(tmp_path / "new" / "scores")])
    assert done.exit_code == 0, done.output
    moved = signing.with_output(path=str(tmp_path / "new" / "scores"))
    assert verified(moved).ok
