"""Makes the JVM of a local spark-submit start as fast as that of the command line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from nocturne.spark.start import Launch, plan

__all__ = ["QuickStart"]

_POD = "KUBERNETES_SERVICE_HOST"


class QuickStart:
    """The settings for one spark-submit with a local master, in this process's environment.

    Args:
        conf: ``spark.*`` settings; their options come after ours and win.
        conf_dir: Spark's configuration folder.
        lean: whether no rows go through the JVM.

    Attributes:
        conf: all settings to submit with.
        environment: variables to submit with.

    Raises:
        ImportError: there is no pyspark here.
    """

    def __init__(self, conf: Mapping[str, str], conf_dir: Path, *, lean: bool) -> None:
        launch = plan("local", conf, conf_dir, lean=lean)
        # A pod may end with its task, and an archive that nobody uses again costs seconds.
        in_pod = launch.making and _POD in os.environ
        self._launch: Launch = launch.plain() if in_pod else launch
        self.conf, self.environment = self._launch.settings(), self._launch.environment

    def done(self) -> None:
        """It has ended well: an archive that it was to make is there, and is kept."""
        if self._launch.making and self._launch.archive is not None:
            self._launch.archive.keep(0)

    def failed(self, *, started: bool) -> None:
        """It has failed. Without ``started``, the archive may be why, and is removed."""
        if self._launch.archive is None:
            return
        if self._launch.making:
            self._launch.archive.discard()
        elif not started:
            self._launch.archive.drop()
