"""Libraries whose threads are missing in a process that is forked after their first use."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from nocturne.errors import ConfigError, StateError

__all__ = ["Threaded"]


@dataclass
class Threaded:
    """A library that hangs or panics in such a process, and is imported when it is first used.

    Attributes:
        package: its name, to import it.
        extra: the extra of ours that installs it.
        needs: who needs it, and ``used``: what was used, for messages.
    """

    package: str
    extra: str
    needs: str
    used: str
    _by: int | None = None

    def load(self) -> Any:
        """The library.

        Raises:
            ConfigError: it is not installed.
            StateError: this process was forked from one that has used it.
        """
        try:
            module = import_module(self.package)
        except ImportError:
            raise ConfigError(
                f"{self.needs} the package {self.package}, which is not installed here: "
                f"pip install 'nocturne[{self.extra}]'"
            ) from None
        if self._by not in (None, os.getpid()):
            raise StateError(
                f"this process was forked from one that had used {self.used}, and can't use it "
                "(the library's threads are gone). Start it anew (subprocess, or the start method "
                "spawn)"
            )
        self._by = os.getpid()
        return module
