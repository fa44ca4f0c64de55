"""The benchmark of truth calls what counts a night, and has to go with it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import truth


@pytest.mark.long
def test_it_joins_all_but_those_without_a_partner(tmp_path: Path) -> None:
    truth._write(tmp_path, 2000)
    command = [sys.executable, "-m", "benchmarks.truth", "--count", str(tmp_path)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    assert json.loads(done.stdout.splitlines()[-1])["joined"] == 1980
