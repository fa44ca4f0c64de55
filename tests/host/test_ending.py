"""A command ends without a search for garbage."""

from __future__ import annotations

import subprocess
import sys

ENDS = """
import atexit, gc
atexit.register(lambda: print(gc.get_freeze_count() > 1000))  # runs after what is registered later
from nocturne.cli import app
app(["config", "schema", "--help"])
"""


def test_at_the_end_of_a_command_there_is_nothing_to_look_through() -> None:
    command = [sys.executable, "-c", ENDS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True"
