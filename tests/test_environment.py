"""The environment is the one that the lock describes, and nothing overwrote pyspark."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINES = (ROOT / "requirements.lock").read_text().splitlines()
LOCK = dict(line.split(" ;")[0].split("==") for line in LINES)


def test_the_lock_names_packages_and_versions_only() -> None:
    for line in LINES:
        assert re.fullmatch(r"[a-z0-9.\-\[\],]+==[^\s:/]+( ; .+)?", line), line


def test_no_pyspark_client_came_in_beside_pyspark() -> None:
    assert "pyspark-client" not in LOCK
    names = {d.metadata["Name"].lower() for d in importlib.metadata.distributions()}
    assert "pyspark-client" not in names
    assert "pyspark_client" not in names


def test_the_files_of_pyspark_are_its_own() -> None:
    files = importlib.metadata.files("pyspark") or []
    changed = [
        str(file)
        for file in files
        if file.suffix == ".py" and file.hash is not None
        and base64.urlsafe_b64encode(
            hashlib.new(file.hash.mode, Path(str(file.locate())).read_bytes()).digest()
        ).rstrip(b"=").decode() != file.hash.value
    ]  # fmt: skip
    assert files
    assert changed == []
