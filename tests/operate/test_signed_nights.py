"""Manifests that are signed when they are published, and checked by ``verify``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from conftest import sample
from keys import key_pair
from nocturne import config, table
from nocturne.cli import app
from nocturne.errors import ConfigError, ModelError, StateError
from nocturne.model.digests import DIGEST
from nocturne.operate.decisions import roll_back
from nocturne.operate.verify import Verified, verify_partition
from nocturne.pipeline import prepare
from nocturne.pipeline.model import client_of
from nocturne.pipeline.places import Places
from nocturne.pipeline.publishing import publish_run
from nocturne.pipeline.recording import judge_run
from nocturne.records.manifest import Manifest
from nocturne.signing import KEY, key_of_nights, sign
from nocturne.store.files import file_digest
from pipeline.conftest import (
    DAYS,
    judgement_of,
    night_of,
    project,
    registry,
    run_of,
    scored,
    shift,
)

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


def test_rows_of_a_manifest_whose_signature_does_not_hold_are_not_taken_over(
    signing: config.Loaded,
) -> None:
    """Else forged scores would get a genuine signature when the next file comes."""
    manifest = night_of(signing, DAY)
    output = Places.of(signing).output(config.partition({"ds": "%Y-%m-%d"}, DAY))
    file = manifest.outputs[0]
    path = Path(str(output.file(file.path)))
    table = pq.read_table(path, partitioning=None)
    at = table.schema.get_field_index("score")
    forged = pa.array([0.123] * table.num_rows, table.schema.field(at).type)
    path.chmod(0o644)
    pq.write_table(table.set_column(at, table.schema.field(at), forged), path)
    stored = file_of(signing, manifest.id)
    written = json.loads(stored.read_text())
    written["outputs"][0] |= {"sha256": file_digest(path), "size": path.stat().st_size}
    stored.write_text(json.dumps(written))
    assert "manifest.json changed" in problem(signing)
    said = prepare(signing, manifest.partition).message
    assert "nothing to do, but its signature does not hold" in said
    folder = signing.home / "data" / f"ds={DAY}"
    pq.write_table(sample(10, 7, 90_000), folder / "part-1.parquet")
    again = night_of(signing, DAY)
    assert again.rows_published == 610
    assert verified(signing).ok
    scores = [pq.read_table(output.file(f.path), partitioning=None) for f in again.outputs]
    assert not any(0.123 in {round(v, 6) for v in t["score"].to_pylist()} for t in scores)


def add_rows(loaded: config.Loaded, day: str) -> None:
    path = loaded.home / "data" / f"ds={day}" / "part-1.parquet"
    pq.write_table(sample(10, 7, 90_000), path)


def forge(path: Path, **fields: object) -> None:
    path.chmod(0o644)
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_forged_statistics_of_a_published_night_are_not_taken_over(
    signing: config.Loaded,
) -> None:
    """Its files are as they were signed, but not the counts that lie beside them."""
    run = run_of(signing, night_of(signing, DAY))
    first, *others = map(Path, map(str, run.result_files()))
    forge(first, rows_in=5_000, reasons={})
    add_rows(signing, DAY)
    planned = prepare(signing, run.plan.partition)
    assert f"{len(others)} unchanged splits are taken over" in planned.message
    again = night_of(signing, DAY)
    assert (again.rows_in, again.rows_published) == (610, 610)
    assert verified(signing).ok


def test_a_night_is_not_judged_by_one_whose_judgement_or_manifest_was_forged(
    signing: config.Loaded,
) -> None:
    first, second = night_of(signing, DAYS[0]), night_of(signing, DAYS[1])
    names = [f"{m.partition.key}:{m.id}" for m in (first, second)]
    assert list(judgement_of(signing, night_of(signing, DAYS[2])).drift.history) == names
    state = Places.of(signing).state.partition(first.partition)
    forge(Path(str(state.stored(first.judgement))), rows_in=5_000)
    assert list(judgement_of(signing, night_of(signing, DAYS[3])).drift.history)[:1] == names[1:]
    state = Places.of(signing).state.partition(second.partition)
    forge(Path(str(state.manifest_file(second.id))), approved_by="mallory")
    add_rows(signing, DAYS[2])
    assert judgement_of(signing, night_of(signing, DAYS[2])).drift.history == ()


def test_no_baseline_is_made_of_a_forged_profile(signing: config.Loaded) -> None:
    first = night_of(signing, DAYS[0])
    path = signing.home / "conf" / "pipelines" / "p.yaml"
    tree = yaml.safe_load(path.read_text())
    tree["drift"]["baseline"] = {"first": DAYS[0], "last": DAYS[0]}
    path.write_text(yaml.safe_dump(tree))
    loaded = config.load("p")
    assert judgement_of(loaded, night_of(loaded, DAYS[1])).drift.baseline
    profile = Path(str(run_of(loaded, first).profile_file))
    profile.chmod(0o644)
    profile.write_text(profile.read_text() + " ")
    with pytest.raises(StateError, match="profile.json is not what was signed with manifest"):
        night_of(loaded, DAYS[2])


def test_verify_names_the_records_that_are_not_those_of_the_night(signing: config.Loaded) -> None:
    manifest = night_of(signing, DAYS[0])
    assert verify_partition(signing, manifest.partition).problems == ()
    run = run_of(signing, manifest)
    changed = [run.result_file(run.plan.splits[1]), run.profile_file]
    for location in changed:
        record = Path(str(location))
        record.chmod(0o644)
        record.write_text(record.read_text() + " ")
    found = verify_partition(signing, manifest.partition).problems
    assert [problem.file for problem in found] == [run.state.name_of(file) for file in changed]
    assert {p.problem for p in found} == {"has changed since the scores were published"}


def signed_before(loaded: config.Loaded, manifest: Manifest) -> None:
    """Make a night's manifest one that was signed before it named records and statistics."""
    state = Places.of(loaded).state.partition(manifest.partition)
    path = Path(str(state.manifest_file(manifest.id)))
    fields = json.loads(path.read_text())
    del fields["profile_sha256"], fields["signature"]
    for file in (*fields["outputs"], *fields["quarantine"]):
        del file["result"]
    folder = loaded.home / "signed" / manifest.id
    folder.mkdir(parents=True)
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    (folder / "manifest.json").write_text(text)
    key = key_of_nights()
    assert key is not None
    path.chmod(0o644)
    path.write_text(json.dumps(fields | {"signature": sign(folder, key)}))


def test_nights_that_were_signed_before_they_named_their_statistics_stop_no_other(
    signing: config.Loaded,
) -> None:
    first = night_of(signing, DAYS[0])
    signed_before(signing, first)
    assert verified(signing).ok
    judgement = judgement_of(signing, night_of(signing, DAYS[1]))
    assert list(judgement.drift.history) == [f"{first.partition.key}:{first.id}"]
    loaded = switched_on(signing, "drift", baseline={"first": DAYS[0], "last": DAYS[1]})
    judgement = judgement_of(loaded, night_of(loaded, DAYS[2]))
    assert [name.partition(":")[0] for name in judgement.drift.baseline] == [DAYS[1]]
    add_rows(loaded, DAYS[0])
    assert night_of(loaded, DAYS[0]).rows_published == 610
    judgement = judgement_of(loaded, night_of(loaded, DAYS[3]))
    assert [name.partition(":")[0] for name in judgement.drift.baseline] == [DAYS[0], DAYS[1]]


def test_verify_checks_the_signature_of_the_model_too(project: Project, tmp_path: Path) -> None:
    private, public = key_pair(tmp_path / "keys")
    key = str(public.relative_to(tmp_path))
    loaded = project()
    night_of(loaded, DAY)
    loaded = switched_on(loaded, "model", require_signature=key)
    [found] = verified(loaded).problems
    assert "is not signed (nocturne.signature)" in found.problem
    result = CliRunner().invoke(app, ["sign", "small", "1", "--key", str(private)])
    assert result.exit_code == 0, result.output
    assert verified(loaded).ok


def switched_on(loaded: config.Loaded, section: str, **settings: object) -> config.Loaded:
    path = loaded.home / "conf" / "pipelines" / "p.yaml"
    tree = yaml.safe_load(path.read_text())
    tree[section] |= settings
    path.write_text(yaml.safe_dump(tree))
    return config.load("p")


class TestSwitchedOnAfterTheNightWasPlanned:
    """What is required by now holds when the night is published."""

    def test_a_night_that_has_to_be_signed_is(
        self, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        private, public = key_pair(tmp_path / "keys")
        loaded = project()
        run = scored(loaded, DAY)
        judge_run(run)
        loaded = switched_on(
            loaded, "output", require_signature=str(public.relative_to(loaded.home))
        )
        with pytest.raises(ConfigError, match="set NOCTURNE_SIGNING_KEY to the file of the priv"):
            publish_run(run)
        monkeypatch.setenv(KEY, str(key_pair(tmp_path / "others")[0]))
        with pytest.raises(ConfigError, match="is not the private key of"):
            publish_run(run)
        assert table.table_of(run).in_force() is None
        monkeypatch.setenv(KEY, str(private))
        publish_run(run)
        assert verified(loaded).ok

    def test_versions_have_to_be_signed_or_to_have_a_digest(
        self, project: Project, tmp_path: Path
    ) -> None:
        private, public = key_pair(tmp_path / "keys")
        loaded = project()
        client = client_of(loaded)
        client.delete_model_version_tag("small", "1", DIGEST)
        run = scored(loaded, DAY)
        judge_run(run)
        key = str(public.relative_to(loaded.home))
        for name, value, command, why in (
            ("require_digest", True, ["digest"], "has no digest"),
            ("require_signature", key, ["sign", "--key", str(private)], "is not signed"),
        ):
            switched_on(loaded, "model", **{name: value})
            with pytest.raises(ModelError, match=f"model small version 1 {why}"):
                publish_run(run)
            done = CliRunner().invoke(app, [command[0], "small", "1", *command[1:]])
            assert done.exit_code == 0, done.output
        assert publish_run(run).rows_published == 600
