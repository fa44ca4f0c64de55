"""Signatures by OpenSSF model-signing with a key pair: of the files in a folder.

A signature is a Sigstore bundle, as text: the name of the folder and the SHA-256 of each file,
signed with a private key (ECDSA on the curves P-256, P-384, P-521). Nothing is asked of a server.
``model_signing verify key`` checks it too.

The private key is a file that a variable of the environment names, and another one has its
password; neither is a setting of a YAML. Nights are signed by ``NOCTURNE_SIGNING_KEY`` and
``NOCTURNE_SIGNING_PASSWORD``. Versions have variables of their own, ``NOCTURNE_MODEL_SIGNING_...``,
since theirs should be another pair; those of the nights stand in for what is not set.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Collection
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from nocturne.errors import ConfigError, choices

__all__ = [
    "KEY",
    "MODEL_KEY",
    "PrivateKey",
    "check_key",
    "check_pair",
    "key_of_models",
    "key_of_nights",
    "sign",
    "signature_problem",
]

KEY = "NOCTURNE_SIGNING_KEY"
PASSWORD = "NOCTURNE_SIGNING_PASSWORD"  # noqa: S105 - the name of a variable
MODEL_KEY = "NOCTURNE_MODEL_SIGNING_KEY"
MODEL_PASSWORD = "NOCTURNE_MODEL_SIGNING_PASSWORD"  # noqa: S105


@dataclass(frozen=True)
class PrivateKey:
    """The file of a private key, and the variables of which the first that is set has its password.

    A key without a password needs none, whatever they say.
    """

    path: Path
    passwords: tuple[str, ...]

    @property
    def password_in(self) -> str:
        """The variable with its password; if none is set, the one to set."""
        return next((name for name in self.passwords if os.environ.get(name)), self.passwords[0])

    def __str__(self) -> str:
        return str(self.path)


def key_of_nights() -> PrivateKey | None:
    """The private key that manifests are signed with; None if none is named."""
    named = os.environ.get(KEY)
    return PrivateKey(Path(named).expanduser(), (PASSWORD,)) if named else None


def key_of_models(path: Path | None = None) -> PrivateKey:
    """The private key that versions are signed with: in a file; None: that of the environment.

    Raises:
        ConfigError: the environment names none.
    """
    named = path or os.environ.get(MODEL_KEY) or os.environ.get(KEY)
    if not named:
        raise ConfigError(
            f"there is no key to sign with: say its file with --key, or set {MODEL_KEY} (or {KEY})"
        )
    return PrivateKey(Path(named).expanduser(), (MODEL_PASSWORD, PASSWORD))


def sign(folder: Path, private_key: PrivateKey, *, ignored: Collection[str] = ()) -> str:
    """The signature of all files in a folder, by its name.

    Args:
        ignored: files that are not part of it.

    Raises:
        ConfigError: the key can't be used, or the package is not installed.
    """
    config = _library("signing").Config().set_hashing_config(_hashing(ignored))
    password = _password(private_key)
    try:
        config.use_elliptic_key_signer(private_key=private_key.path, password=password)
    except Exception as error:
        hint = ""
        if password:
            own, used = private_key.passwords[0], private_key.password_in
            other = "" if used == own else f" (set {own})"
            hint = f"{used} has another password{other}, or the file is damaged. "
        raise ConfigError(
            f"the private key {private_key} can't be used: {_words(error)}. {hint}Expected a PEM "
            "file of an elliptic curve, as `openssl ecparam -name prime256v1 -genkey -noout` makes",
            path=str(private_key),
        ) from None
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "signature")
        config.sign(folder, file)
        return file.read_text(encoding="utf-8")


def _password(private_key: PrivateKey) -> bytes | None:
    """The password of a key; None if it has none, or can't be read, which its use says.

    Raises:
        ConfigError: it needs one, and there is none.
    """
    with suppress(OSError):
        if b"ENCRYPTED" in private_key.path.read_bytes():  # both forms of PEM say so
            if password := os.environ.get(private_key.password_in):
                return password.encode()
            raise ConfigError(
                f"the private key {private_key} has a password: set {private_key.password_in}",
                path=str(private_key),
            )
    return None


def signature_problem(
    folder: Path, signature: str, public_key: Path, *, name: str, ignored: Collection[str] = ()
) -> str:
    """Why a signature is not one of these files by that key, as a phrase; "" if it is.

    Args:
        name: that of the folder when it was signed.
        ignored: files that are not part of it.

    Raises:
        ConfigError: the key can't be used, or the package is not installed.
    """
    config = _library("verifying").Config().set_hashing_config(_hashing(ignored))
    try:
        config.use_elliptic_key_verifier(public_key=public_key)
    except Exception as error:
        raise ConfigError(
            f"the public key {public_key} can't be used: {_words(error)}. Expected the PEM file "
            "that `openssl ec -pubout` makes of the private key",
            path=str(public_key),
        ) from None
    refused: Exception | None = None
    try:
        bundle, payload = _plain(signature)
        with tempfile.TemporaryDirectory() as scratch, redirect_stdout(sys.stderr):
            file = Path(scratch, "signature")
            file.write_text(json.dumps(bundle), encoding="utf-8")
            try:
                config.verify(folder, file)
            except Exception as error:  # a forged one may raise anything
                refused = error
        said = json.loads(payload)
        # A signature may itself leave files out, which then are not signed.
        differing = _differing(folder, said["predicate"]["resources"], ignored)
        [subject] = said["subject"]
    except Exception as error:
        return f"its signature does not hold: {_words(refused or error)}"
    if refused or differing:
        return f"its signature does not hold: {differing or _words(refused or ValueError())}"
    if subject["name"] != name:
        return f"its signature is that of {subject['name']}, expected that of {name}"
    return ""


def _differing(folder: Path, resources: list[dict[str, str]], ignored: Collection[str]) -> str:
    """Which files are others than those that are signed, as a phrase."""
    signed = {one["name"]: one["digest"] for one in resources if one["algorithm"] == "sha256"}
    there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    files = {n: path for n, path in there.items() if path.is_file() and n not in ignored}
    changed = []
    for name in signed.keys() & files.keys():
        with open(files[name], "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != signed[name]:
                changed.append(name)
    kinds = {
        "changed": changed,
        "missing": signed.keys() - files.keys(),
        "not signed": files.keys() - signed.keys(),
    }
    return ", ".join(f"{choices(names, 6)} {kind}" for kind, names in kinds.items() if names)


def check_key(private_key: PrivateKey) -> None:
    """Raises: ConfigError if a private key can't be used."""
    with tempfile.TemporaryDirectory() as folder:
        sign(Path(folder), private_key)


def check_pair(private_key: PrivateKey, public_key: Path) -> None:
    """Raises: ConfigError if what one signs does not hold for the other."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "file").write_bytes(b"a")
        signature = sign(folder, private_key)
        if problem := signature_problem(folder, signature, public_key, name=folder.name):
            raise ConfigError(f"{private_key} is not the private key of {public_key}: {problem}")


def _plain(signature: str) -> tuple[dict[str, Any], bytes]:
    """The bundle with nothing but what is needed, and the payload that is signed in it.

    So the library verifies the payload that is read here: it takes keys in two spellings.
    """
    bundle = json.loads(signature)
    envelope = bundle["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"], validate=True)
    plain = {
        "mediaType": bundle["mediaType"],
        "verificationMaterial": bundle["verificationMaterial"],
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": envelope["payloadType"],
            "signatures": envelope["signatures"],
        },
    }
    return plain, payload


def _hashing(ignored: Collection[str]) -> Any:
    config = _library("hashing").Config().use_file_serialization()
    return config.set_ignored_paths(paths=list(ignored), ignore_git_paths=False)


def _library(name: str) -> Any:
    try:
        return import_module(f"model_signing.{name}")
    except ImportError as error:
        raise ConfigError(
            f"signatures need the package model-signing, which can't be imported here ({error}): "
            "pip install 'nocturne[signing]'"
        ) from None


def _words(error: Exception) -> str:
    """Type and text in one line; InvalidSignature has no text."""
    text = " ".join(str(error).split())[:400].rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
