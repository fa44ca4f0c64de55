"""The signature within a manifest: whether a night was published by who holds the key.

It is over the manifest as JSON without it, with sorted keys and no spaces: that does not change
with the version of the record. A manifest names its files, its run and its judgement by their
hashes.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from nocturne import signing
from nocturne.codec import dump
from nocturne.objects import Location
from nocturne.records.manifest import Manifest
from nocturne.store.record_files import content

__all__ = ["manifest_problem", "signed"]

_FILE = "manifest.json"


def signed(manifest: Manifest) -> Manifest:
    """The manifest with the signature of the environment's key; without a key it has none.

    Raises:
        ConfigError: the key can't be used, or model-signing is not installed.
    """
    key = signing.key_of_nights()
    if key is None:
        return replace(manifest, signature="")
    with tempfile.TemporaryDirectory() as scratch:
        folder = _laid_out(Path(scratch), manifest.id, json.loads(dump(manifest)))
        return replace(manifest, signature=signing.sign(folder, key))


def manifest_problem(path: Location, manifest: Manifest, public_key: Path) -> str:
    """Why a manifest's file is not what the holder of the key has signed; "" if it is.

    Raises:
        ConfigError: the key can't be used, or model-signing is not installed.
    """
    if not manifest.signature:
        return "it is not signed, and output.require_signature names a key"
    with tempfile.TemporaryDirectory() as scratch:
        folder = _laid_out(Path(scratch), manifest.id, json.loads(content(path)))
        return signing.signature_problem(folder, manifest.signature, public_key, name=manifest.id)


def _laid_out(scratch: Path, id_: str, fields: dict[str, Any]) -> Path:
    """A folder of the manifest's name with what is signed."""
    fields.pop("signature", None)
    folder = scratch / id_
    folder.mkdir()
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    (folder / _FILE).write_text(text, encoding="utf-8")
    return folder
