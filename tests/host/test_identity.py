"""Two installations have the same code if all of their Python files are the same."""

from __future__ import annotations

import hashlib
from pathlib import Path

import nocturne
from nocturne.host.identity import code


def test_the_digest_is_of_the_whole_package() -> None:
    root = Path(nocturne.__file__).parent
    found = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        found.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    assert code().endswith(f"+{found.hexdigest()[:8]}")
