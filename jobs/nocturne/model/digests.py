"""The digest of a registered version, as a tag: whether its files are still those of then."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from nocturne.errors import ModelError
from nocturne.model.artifact import require_plain_files
from nocturne.model.copies import tree_digest

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

__all__ = ["DIGEST", "check_digest", "digest_of", "tag_digest"]

DIGEST = "nocturne.sha256"
"""The tag of a version: SHA-256 over the names and bytes of its files (``copies.tree_digest``)."""


def tag_digest(client: MlflowClient, name: str, version: int | str) -> str:
    """Tag a version with the digest of its files, which are downloaded; returns the digest.

    Raises:
        ModelError: it is tagged with another one.
    """
    sha256 = digest_of(client, f"models:/{name}/{version}", f"model {name} version {version}")
    check_digest(client.get_model_version(name, str(version)), sha256, required=False)
    client.set_model_version_tag(name, str(version), DIGEST, sha256)
    return sha256


def digest_of(client: MlflowClient, uri: str, what: str) -> str:
    """The digest of a model's files, which are downloaded.

    Args:
        uri: ``models:/...``.
        what: the name of the model in messages.

    Raises:
        ModelError: its folder has a link out of it.
    """
    import mlflow.artifacts

    with tempfile.TemporaryDirectory() as scratch:
        folder = mlflow.artifacts.download_artifacts(
            artifact_uri=uri, dst_path=scratch, tracking_uri=client.tracking_uri
        )
        require_plain_files(Path(folder), what)
        return tree_digest(Path(folder))


def check_digest(version: ModelVersion, sha256: str, *, required: bool) -> None:
    """Compare the digest of a version's files with its tag.

    Raises:
        ModelError: it is another one; or there is no tag, and it is ``required``.
    """
    what, tagged = f"model {version.name} version {version.version}", version.tags.get(DIGEST)
    if tagged is None and required:
        raise ModelError(
            f"{what} has no digest ({DIGEST}), and model.require_digest is true. If its files are "
            f"those that were trained, tag it: nocturne digest {version.name} {version.version}"
        )
    if tagged not in (None, sha256):
        raise ModelError(
            f"the files of {what} are not those that were registered: their digest is {sha256}, "
            f"and its tag {DIGEST} says {tagged}. Register the model anew, or put its files back"
        )
