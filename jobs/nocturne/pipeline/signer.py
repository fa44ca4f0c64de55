"""Signed nights: whether one can be signed before it is published, and whether one is."""

from __future__ import annotations

from nocturne import signing, table
from nocturne.config import Loaded
from nocturne.errors import ConfigError, StateError
from nocturne.records.manifest import Manifest
from nocturne.store.partition_state import PartitionState

__all__ = ["manifest_problem", "require_signed", "require_signer"]


def require_signer(loaded: Loaded) -> None:
    """Raises: ConfigError if what is published has to be signed, and can't be."""
    public_key = loaded.pipeline.output.require_signature
    if public_key is None:
        return
    private_key = signing.key_of_nights()
    if private_key is None:
        raise ConfigError(
            f"{loaded.pipeline.name}: output.require_signature names {public_key}, so what is "
            f"published has to be signed: set {signing.KEY} to the file of the private key, where "
            "the job runs"
        )
    signing.check_pair(private_key, loaded.home / public_key)


def require_signed(loaded: Loaded, state: PartitionState, manifest: Manifest) -> None:
    """Check a manifest that is signed anew, since it is to be in force once more.

    Raises:
        StateError: it is not signed, or not by that key, and has to be.
    """
    if problem := manifest_problem(loaded, state, manifest):
        raise StateError(
            f"{state.manifest_file(manifest.id)}: {problem}. So it is not signed anew, and nothing "
            "was changed; score the partition again instead"
        )


def manifest_problem(loaded: Loaded, state: PartitionState, manifest: Manifest) -> str:
    """Why the manifest is not signed as ``output.require_signature`` says; "" if it is, or need
    not be.
    """
    key = loaded.pipeline.output.require_signature
    if key is None:
        return ""
    return table.manifest_problem(state.manifest_file(manifest.id), manifest, loaded.home / key)
