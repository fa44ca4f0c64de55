"""Whether a version is signed by who holds the key, with real keys and a real registry."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
import yaml
from model_signing import verifying
from typer.testing import CliRunner

from keys import key_pair
from nocturne import config
from nocturne.cli import app
from nocturne.errors import ConfigError, ModelError
from nocturne.model.digests import DIGEST
from nocturne.model.signatures import SIGNATURE
from nocturne.model.tracking import connect
from nocturne.pipeline import prepare
from nocturne.pipeline.model import resolver
from nocturne.pipeline.places import Places
from pipeline.conftest import DAYS, project, registry
from pipeline.test_arms import canary, register, sharing

__all__ = ["project", "registry"]

Project = Callable[..., config.Loaded]


@pytest.fixture
def signed(project: Project, tmp_path: Path) -> config.Loaded:
    """A project that requires a signature of key.pem; version 1 of its model has one."""
    private, public = key_pair(tmp_path / "keys")
    loaded = project(
        model__require_signature=str(public.relative_to(tmp_path)), spark__master="none"
    )
    sign("1", private)
    return loaded


def sign(version: str, key: Path) -> str:
    done = CliRunner().invoke(app, ["sign", "small", version, "--key", str(key), "--json"])
    assert done.exit_code == 0, done.output
    sha256: str = json.loads(done.stdout.splitlines()[-1])["sha256"]
    return sha256


def not_signed(*options: str) -> str:
    """Why version 1 is not signed."""
    done = CliRunner().invoke(app, ["sign", "small", "1", *options])
    assert done.exit_code == 1, done.output
    return " ".join(done.output.split())


def client_of(loaded: config.Loaded) -> mlflow.MlflowClient:
    return connect(f"sqlite:///{loaded.home / 'var' / 'mlflow' / 'mlflow.db'}")


def refused(loaded: config.Loaded) -> str:
    with pytest.raises(ModelError) as error:
        resolver(loaded)()
    return str(error.value)


def own_files(loaded: config.Loaded, tmp_path: Path) -> Path:
    """The files of a new version 2, which a test may change, with the alias and a signature."""
    register(loaded, alias="champion")
    client, private = client_of(loaded), tmp_path / "keys" / "key.pem"
    sign("2", private)
    client.delete_model_version_tag("small", "2", DIGEST)  # or that would notice it first
    uri = client.get_model_version_download_uri("small", "2")
    return Path(uri.removeprefix("file://"))


def test_a_signed_version_is_taken_and_has_the_digest_that_it_had(signed: config.Loaded) -> None:
    version = client_of(signed).get_model_version("small", "1")
    assert resolver(signed)().ref.sha256 == version.tags[DIGEST]


def test_the_tool_of_openssf_verifies_the_signature_too(
    signed: config.Loaded, tmp_path: Path
) -> None:
    folder = Path(
        mlflow.artifacts.download_artifacts("models:/small/1", dst_path=str(tmp_path / "small"))
    )
    file = tmp_path / "small.sig"
    file.write_text(client_of(signed).get_model_version("small", "1").tags[SIGNATURE])
    config_ = verifying.Config().use_elliptic_key_verifier(
        public_key=tmp_path / "keys" / "key.pub.pem"
    )
    config_.verify(folder, file)
    (folder / "MLmodel").write_text("changed")
    with pytest.raises(ValueError, match="Signature mismatch"):
        config_.verify(folder, file)


def test_a_version_without_a_signature_is_refused_before_a_row_is_scored(
    signed: config.Loaded,
) -> None:
    register(signed, alias="champion")
    done = CliRunner().invoke(app, ["score", "p", "--date", DAYS[0]])
    assert done.exit_code == 1
    assert "model small version 2 is not signed (nocturne.signature)" in done.output
    assert "nocturne sign small 2 --key PRIVATE_KEY" in done.output
    state = Places.of(signed).state.partition(config.partition({"ds": "%Y-%m-%d"}, DAYS[0]))
    assert not state.runs()
    sign("2", signed.home / "keys" / "key.pem")
    assert CliRunner().invoke(app, ["score", "p", "--date", DAYS[0]]).exit_code == 0


def test_a_canary_that_is_not_signed_takes_no_part(signed: config.Loaded) -> None:
    register(signed)
    loaded = sharing(signed, canary=canary())
    planned = prepare(loaded, config.partition({"ds": "%Y-%m-%d"}, DAYS[0]))
    assert planned.run is not None
    assert planned.run.plan.arms is None
    assert "model small version 2 is not signed" in planned.message
    sign("2", signed.home / "keys" / "key.pem")
    planned = prepare(loaded, config.partition({"ds": "%Y-%m-%d"}, DAYS[1]))
    assert planned.run is not None
    assert [arm.model.version for arm in planned.run.plan.each_arm] == [2]


def test_changed_added_and_removed_files_are_named(signed: config.Loaded, tmp_path: Path) -> None:
    folder = own_files(signed, tmp_path)
    file = folder / "requirements.txt"
    before = file.read_bytes()
    file.write_bytes(before + b"evil\n")
    assert "requirements.txt changed" in refused(signed)
    file.unlink()
    assert "requirements.txt missing" in refused(signed)
    file.write_bytes(before)
    (folder / ".git").mkdir()
    (folder / ".git" / "evil.py").write_text("")
    assert ".git/evil.py not signed" in refused(signed)
    (folder / ".git" / "evil.py").unlink()
    (folder / ".git").rmdir()
    assert resolver(signed)().ref.version == 2


def test_the_signature_of_another_version_or_key_or_a_forged_one_does_not_hold(
    signed: config.Loaded, tmp_path: Path
) -> None:
    client = client_of(signed)
    own = client.get_model_version("small", "1").tags[SIGNATURE]
    source = client.get_model_version("small", "1").source
    client.create_model_version("small", source, tags={SIGNATURE: own})  # the same files
    client.set_registered_model_alias("small", "champion", "2")
    assert "is that of small-1, expected that of small-2" in refused(signed)
    sign("2", key_pair(tmp_path / "others")[0])
    assert "Key mismatch" in refused(signed)
    bundle = json.loads(own)
    envelope = bundle["dsseEnvelope"]
    payload = json.loads(base64.b64decode(envelope["payload"]))
    payload["subject"][0]["name"] = "small-2"
    envelope["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()
    both = json.loads(own) | {"dsse_envelope": json.loads(own)["dsseEnvelope"]}
    both["dsseEnvelope"] = envelope  # the library reads either
    for forged in (json.dumps(bundle), json.dumps(both), "{}", "no JSON", ""):
        client.set_model_version_tag("small", "2", SIGNATURE, forged)
        assert "does not hold" in refused(signed) or "is not signed" in refused(signed)
    sign("2", signed.home / "keys" / "key.pem")
    assert resolver(signed)().ref.version == 2


def test_a_version_that_is_not_as_it_was_registered_is_not_signed(
    signed: config.Loaded, tmp_path: Path
) -> None:
    client = client_of(signed)
    client.set_model_version_tag("small", "1", DIGEST, "0" * 64)
    key = str(signed.home / "keys" / "key.pem")
    done = CliRunner().invoke(app, ["sign", "small", "1", "--key", key])
    assert done.exit_code == 1
    assert "are not those that were registered" in done.output


def test_a_key_with_a_password_and_one_of_the_environment(
    signed: config.Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = key_pair(tmp_path / "keys", "locked", "sesame")
    said = not_signed("--key", str(private))
    assert "locked.pem has a password: set NOCTURNE_MODEL_SIGNING_PASSWORD" in said
    monkeypatch.setenv("NOCTURNE_SIGNING_KEY", str(private))
    monkeypatch.setenv("NOCTURNE_MODEL_SIGNING_PASSWORD", "")  # as Compose sets what is not given
    monkeypatch.setenv("NOCTURNE_SIGNING_PASSWORD", "sesame")
    assert CliRunner().invoke(app, ["sign", "small", "1", "--key", str(private)]).exit_code == 0
    monkeypatch.setenv("NOCTURNE_SIGNING_PASSWORD", "wrong")
    assert "has another password (set NOCTURNE_MODEL_SIGNING_PASSWORD)" in not_signed()
    monkeypatch.setenv("NOCTURNE_MODEL_SIGNING_PASSWORD", "too")
    assert "NOCTURNE_MODEL_SIGNING_PASSWORD has another password" in not_signed()
    sign("1", signed.home / "keys" / "key.pem")  # it has none
    monkeypatch.setenv("NOCTURNE_MODEL_SIGNING_PASSWORD", "sesame")
    assert CliRunner().invoke(app, ["sign", "small", "1"]).exit_code == 0
    assert "Key mismatch" in refused(signed)
    public.rename(tmp_path / "keys" / "key.pub.pem")
    assert resolver(signed)().ref.version == 1


@pytest.mark.long
def test_versions_and_nights_have_two_keys_with_two_passwords(
    signed: config.Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another pair: one variable can't hold both passwords."""
    for name, file, password in (("MODEL_", "key", "of versions"), ("", "nights", "of nights")):
        private, _ = key_pair(tmp_path / "keys", file, password)
        monkeypatch.setenv(f"NOCTURNE_{name}SIGNING_KEY", str(private))
        monkeypatch.setenv(f"NOCTURNE_{name}SIGNING_PASSWORD", password)
    path = signed.home / "conf" / "pipelines" / "p.yaml"
    tree = yaml.safe_load(path.read_text())
    tree["output"]["require_signature"] = "keys/nights.pub.pem"
    path.write_text(yaml.safe_dump(tree))
    assert CliRunner().invoke(app, ["sign", "small", "1"]).exit_code == 0
    assert CliRunner().invoke(app, ["score", "p", "--date", DAYS[0]]).exit_code == 0
    assert CliRunner().invoke(app, ["verify", "p", "--date", DAYS[0]]).exit_code == 0


@pytest.mark.parametrize("key", ["missing.pem", "text.pem"])
def test_a_key_that_can_not_be_used_is_said(signed: config.Loaded, key: str) -> None:
    (signed.home / "text.pem").write_text("no key")
    done = CliRunner().invoke(app, ["sign", "small", "1", "--key", str(signed.home / key)])
    assert done.exit_code == 1
    assert f"{key} can't be used" in done.output
    (signed.home / "keys" / "key.pub.pem").unlink()
    with pytest.raises(ConfigError, match=r"key.pub.pem can't be used: FileNotFoundError"):
        resolver(signed)()
    done = CliRunner().invoke(app, ["sign", "small", "1"])
    assert "say its file with --key, or set NOCTURNE_MODEL_SIGNING_KEY" in done.output


def test_the_package_that_is_missing_is_said(
    signed: config.Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("signing", "verifying", "hashing"):
        monkeypatch.setitem(sys.modules, f"model_signing.{name}", None)
    with pytest.raises(ConfigError, match=r"pip install 'nocturne\[signing\]'"):
        resolver(signed)()
