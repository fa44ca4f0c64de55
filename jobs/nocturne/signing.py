"""Signatures by OpenSSF model-signing with a key pair: of the files in a folder.

A signature is a Sigstore bundle, as text: the name of the folder and the SHA-256 of each file,
signed with a private key (ECDSA on the curves P-256, P-384, P-521). Nothing is asked of a server.
``model_signing verify key`` checks it too.

The private key is a file that ``NOCTURNE_SIGNING_KEY`` names; ``NOCTURNE_SIGNING_PASSWORD`` is its
password, if it has one. Neither is a setting of a YAML.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import tempfile
from collections.abc import Collection
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

from nocturne.errors import ConfigError, choices

__all__ = [
    "KEY",
    "check_key",
    "check_pair",
    "key_named",
    "key_of_environment",
    "sign",
    "signature_problem",
]

KEY = "NOCTURNE_SIGNING_KEY"
PASSWORD = "NOCTURNE_SIGNING_PASSWORD"  # noqa: S105 - the name of a variable


def key_of_environment() -> Path | None:
    """The file of the private key; None if none is named."""
    named = os.environ.get(KEY)
    return Path(named).expanduser() if named else None


def key_named(path: Path | None) -> Path:
    """The private key in a file; None: that of the environment.

    Raises:
        ConfigError: the environment names none.
    """
    key = path or key_of_environment()
    if key is None:
        raise ConfigError(f"there is no key to sign with: say its file with --key, or set {KEY}")
    return key


def sign(folder: Path, private_key: Path, *, ignored: Collection[str] = ()) -> str:
    """The signature of all files in a folder, by its name.

    Args:
        ignored: files that are not part of it.

    Raises:
        ConfigError: the key can't be used, or the package is not installed.
    """
    password = os.environ.get(PASSWORD)
    config = _library("signing").Config().set_hashing_config(_hashing(ignored))
    try:
        config.use_elliptic_key_signer(
            private_key=private_key, password=password.encode() if password else None
        )
    except Exception as error:
        raise ConfigError(
            f"the private key {private_key} can't be used: {_words(error)}. Expected a PEM file of "
            "an elliptic curve, as `openssl ecparam -name prime256v1 -genkey -noout` makes, and "
            f"its password, if it has one, in {PASSWORD}",
            path=str(private_key),
        ) from None
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "signature")
        config.sign(folder, file)
        return file.read_text(encoding="utf-8")


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
    with tempfile.TemporaryDirectory() as scratch, redirect_stdout(sys.stderr):
        file = Path(scratch, "signature")
        file.write_text(signature, encoding="utf-8")
        try:
            config.verify(folder, file)
            said = _content(signature)
        except Exception as error:  # a forged one may raise anything
            return f"its signature does not hold: {_words(error)}"
    [subject], resources = said["subject"], said["predicate"]["resources"]
    covered = {resource["name"] for resource in resources}  # the signature itself may ignore some
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    if unsigned := files - covered - set(ignored):
        return f"its signature leaves out {choices(unsigned, 6)}"
    if subject["name"] != name:
        return f"its signature is that of {subject['name']}, expected that of {name}"
    return ""


def check_key(private_key: Path) -> None:
    """Raises: ConfigError if a private key can't be used."""
    with tempfile.TemporaryDirectory() as folder:
        sign(Path(folder), private_key)


def check_pair(private_key: Path, public_key: Path) -> None:
    """Raises: ConfigError if what one signs does not hold for the other."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "file").write_bytes(b"a")
        signature = sign(folder, private_key)
        if problem := signature_problem(folder, signature, public_key, name=folder.name):
            raise ConfigError(f"{private_key} is not the private key of {public_key}: {problem}")


def _content(signature: str) -> Any:
    """What is signed; it was verified before."""
    return json.loads(base64.b64decode(json.loads(signature)["dsseEnvelope"]["payload"]))


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
