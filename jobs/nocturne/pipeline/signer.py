"""Signed nights: whether one can be signed before it is published, and whether one is."""

from __future__ import annotations

import hashlib
import logging

from nocturne import signing, table
from nocturne.config import Loaded
from nocturne.errors import ConfigError, StateError
from nocturne.records.manifest import Manifest, PublishedNight
from nocturne.records.profile import Profile
from nocturne.store.partition_state import PartitionState
from nocturne.store.record_files import content

__all__ = [
    "as_signed",
    "manifest_problem",
    "names_profile",
    "profile_of",
    "require_signed",
    "require_signer",
]

log = logging.getLogger(__name__)


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


def as_signed(
    loaded: Loaded, state: PartitionState, night: PublishedNight | None
) -> PublishedNight | None:
    """A night that others are judged by; None if it has to be signed, and its signature, or the
    judgement that it names, is not as it was signed. That is logged.
    """
    if night is None or loaded.pipeline.output.require_signature is None:
        return night
    problem = manifest_problem(loaded, state, night.manifest)
    stored = night.manifest.judgement
    if not problem and hashlib.sha256(content(state.stored(stored))).hexdigest() != stored.sha256:
        problem = f"{stored.path} is not what was signed"
    if problem:
        log.warning("no night is judged by %s: %s", night.manifest.partition.key, problem)
    return None if problem else night


def names_profile(loaded: Loaded, manifest: Manifest) -> bool:
    """Whether a night's statistics are signed, if they have to be: an earlier Nocturne did not
    name them in the manifest. Then that is logged, and the night is part of no baseline.
    """
    if loaded.pipeline.output.require_signature is None or manifest.profile_sha256:
        return True
    log.warning(
        "no night is compared with %s: its manifest %s does not name its statistics, so they are "
        "not signed. Score it again with --force",
        manifest.partition.key,
        manifest.id,
    )
    return False


def profile_of(loaded: Loaded, state: PartitionState, manifest: Manifest) -> Profile:
    """The statistics of a published night, from which a baseline is made.

    Raises:
        StateError: they are gone; or they are not what was signed, and have to be.
    """
    run = state.run(manifest.run_key)
    if loaded.pipeline.output.require_signature is not None:
        file = run.profile_file
        there = hashlib.sha256(content(file)).hexdigest() if file.is_file() else "missing"
        if there != manifest.profile_sha256:
            raise StateError(
                f"{file} is not what was signed with manifest {manifest.id} (sha256 {there}, "
                f"expected {manifest.profile_sha256 or 'one'}), so no baseline is made of it. Put "
                "it back, score that night again with --force, or leave it out of drift.baseline"
            )
    return run.profile
