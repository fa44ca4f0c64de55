"""What the pipelines' models were logged with, held against what is installed, for ``doctor``."""

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
    "install what is missing here and for Spark's workers; what the model never imports when it "
    "predicts may be missing"
)


def model_packages() -> Iterator[tuple[str, bool, str, str]]:
    """Name, whether nothing is missing, what was found, and what to do, of each pipeline.

    Another major version is told and no fault. A model that can't be had is not looked at: that
    the registry does not answer, or has no such model, other checks and ``prepare`` say.
    """
    root = config.home()
    for name in config.names(root):
        title = f"{name}: packages"
        try:
            with tempfile.TemporaryDirectory(prefix="nocturne-doctor-") as folder:
                resolved = resolver(config.load(name, root=root), Path(folder))()
                what = f"{resolved.ref.name} version {resolved.ref.version}"
                found = unmet(resolved.ref.path)
                same = (
                    "as it was logged"
                    if lists_requirements(resolved.ref.path)
                    else "nothing says which packages it was logged with"
                )
        except NocturneError as error:
            yield title, True, f"not compared: {error}", ""
            continue
        said = "; ".join(map(str, found)) or same
        yield title, all(one.installed for one in found), f"{what}: {said}", _FIX
