"""The signature of a registered version, as a tag: whether its files are by who holds the key.

The tag holds a bundle of model-signing over the files of the version. Other than a file beside
them it changes no digest, and can be set where a logged model's files can't be changed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from nocturne import signing
from nocturne.errors import ModelError
from nocturne.model.artifact import REGISTRATION, require_plain_files
from nocturne.model.copies import tree_digest
from nocturne.model.digests import check_digest
from nocturne.signing import PrivateKey

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

__all__ = ["SIGNATURE", "check_signable", "check_signature", "sign_version"]

SIGNATURE = "nocturne.signature"


_LONGEST = 100_000
"""The most characters of a version's tag in MLflow. Each file takes some 150."""


def check_signable(folder: Path, private_key: PrivateKey) -> None:
    """Sign the files of a model, before there is a version of them that would stay unsigned.

    Raises:
        ModelError: they are too many.
        ConfigError: the key can't be used, or model-signing is not installed.
    """
    _signed(folder, private_key, "the model")


def _signed(folder: Path, private_key: PrivateKey, what: str) -> str:
    signature = signing.sign(folder, private_key, ignored=[REGISTRATION])
    if len(signature) > _LONGEST:
        raise ModelError(
            f"{what} has too many files to be signed: MLflow keeps the signature as a tag of "
            f"{_LONGEST} characters, and it has {len(signature)}. Log it with fewer files, such as "
            "an archive of those beside it"
        )
    return signature


def sign_version(client: MlflowClient, name: str, version: int, private_key: PrivateKey) -> str:
    """Sign the files of a version, which are downloaded; returns their digest.

    Raises:
        ModelError: they are not those that its digest says, or too many.
        ConfigError: the key can't be used, or model-signing is not installed.
    """
    import mlflow.artifacts

    what = f"model {name} version {version}"
    registered = client.get_model_version(name, str(version))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, _signed_name(name, version))
        folder.mkdir()
        mlflow.artifacts.download_artifacts(
            artifact_uri=f"models:/{name}/{version}",
            dst_path=str(folder),
            tracking_uri=client.tracking_uri,
        )
        require_plain_files(folder, what)
        sha256 = tree_digest(folder)
        check_digest(registered, sha256, required=False)
        signature = _signed(folder, private_key, what)
    client.set_model_version_tag(name, str(version), SIGNATURE, signature)
    return sha256


def check_signature(version: ModelVersion, folder: Path, public_key: Path) -> None:
    """Check that the files of a version, in a folder, are signed as those of this version.

    Raises:
        ModelError: they have no signature, or it is another key's, other files' or another
            version's.
        ConfigError: the key can't be used, or model-signing is not installed.
    """
    what, signature = f"model {version.name} version {version.version}", version.tags.get(SIGNATURE)
    if signature is None:
        raise ModelError(
            f"{what} is not signed ({SIGNATURE}), and model.require_signature names a key. If its "
            f"files are those that were trained: nocturne sign {version.name} {version.version} "
            "--key PRIVATE_KEY"
        )
    name = _signed_name(version.name, int(version.version))
    problem = signing.signature_problem(
        folder, signature, public_key, name=name, ignored=[REGISTRATION]
    )
    if problem:
        raise ModelError(
            f"{what} is not what the holder of the key {public_key} has signed: {problem}. Put its "
            "files back, or find out who changed them, before it is signed again"
        )


def _signed_name(name: str, version: int) -> str:
    """The name that is signed, so that the signature of one version is none of another."""
    return f"{name}-{version}"
