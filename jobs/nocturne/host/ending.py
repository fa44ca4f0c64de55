"""How a command ends."""

from __future__ import annotations

import atexit
import gc

__all__ = ["end_quickly"]


def end_quickly() -> None:
    """At the very end, let the interpreter look for no garbage.

    It does so more than once, among all that MLflow has imported: a second after every command.
    """
    atexit.register(gc.freeze)
