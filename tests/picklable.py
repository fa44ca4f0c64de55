"""A module that a pickle names by this file: ``conftest`` is the name of several files."""

from __future__ import annotations

from conftest import Small

__all__ = ["Picklable"]


class Picklable(Small):
    """The small model."""
