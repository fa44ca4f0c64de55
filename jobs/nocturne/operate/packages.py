"""Compares the packages of the pipelines' models with the installed ones, for ``doctor``."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from nocturne import config
from nocturne.errors import NocturneError
from nocturne.model.requirements import lists_requirements, unmet
from nocturne.pipeline.model import resolver

__all__ = ["model_packages"]

_FIX = (
    "install what is missing here and for Spark's workers; packages that the model never imports "
    "when it predicts may be missing"
)


def model_packages() -> Iterator[tuple[str, bool, str, str]]:
    """(name, whether no package is missing, result, advice) for each pipeline.

    Another major version is reported and is not an error. A model that can't be loaded from the
    registry is not compared: other checks and ``prepare`` report that.
    """
    root = config.home()
    for name in config.names(root):
        title = f"{name}: packages"
        try:
            with tempfile.TemporaryDirectory(prefix="nocturne-doctor-") as folder:
                resolved = resolver(config.load(name, root=root), Path(folder))()
                model = f"{resolved.ref.name} version {resolved.ref.version}"
                problems = unmet(resolved.ref.path)
                otherwise = (
                    "as it was logged"
                    if lists_requirements(resolved.ref.path)
                    else "nothing says which packages it was logged with"
                )
        except NocturneError as error:
            yield title, True, f"not compared: {error}", ""
            continue
        result = "; ".join(map(str, problems)) or otherwise
        yield title, all(problem.installed for problem in problems), f"{model}: {result}", _FIX
