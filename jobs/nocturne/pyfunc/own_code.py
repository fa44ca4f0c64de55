"""Code that a model brings with it (MLflow's ``code_paths``), where a process has several models.

MLflow puts a model's code folder on ``sys.path`` and leaves it there, and what was imported stays
in ``sys.modules``: a second model that brings a module of the same name would run the first one's.
So a model's modules, and its entries of the path, are there only while it is the one called.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

__all__ = ["enter"]


@dataclass
class _Own:
    """What belongs to a model's folder, while another model is called."""

    path: list[str] = field(default_factory=list)
    modules: dict[str, ModuleType] = field(default_factory=dict)


_here = ""
_aside: dict[str, _Own] = {}


def enter(home: str) -> None:
    """Have the code below a model's folder on the path and imported, and that of no other model.

    To be called before the model is loaded and before each call of it, which may import, too.
    """
    global _here
    if home == _here:
        return
    if _here:
        _aside[_here] = _put_aside(_here)
    own = _aside.pop(home, _Own())
    sys.path[:0] = own.path
    for name, module in own.modules.items():
        if (parent := _parent(name)) is not None:
            setattr(parent, name.rpartition(".")[2], module)
    sys.modules.update(own.modules)
    _here = home


def _put_aside(home: str) -> _Own:
    roots = (f"{home}/", f"{Path(home).resolve()}/")
    own = _Own(
        [entry for entry in sys.path if _below(entry, roots)],
        {name: module for name, module in list(sys.modules.items()) if _is_own(module, roots)},
    )
    sys.path[:] = [entry for entry in sys.path if not _below(entry, roots)]
    for name in own.modules:
        del sys.modules[name]
    for name in own.modules:
        if (parent := _parent(name)) is not None:
            vars(parent).pop(name.rpartition(".")[2], None)
    return own


def _is_own(module: ModuleType | None, roots: tuple[str, ...]) -> bool:
    """By its file, or as a package without one by all of its folders; nothing lazy is woken."""
    attributes = getattr(module, "__dict__", {})
    file = attributes.get("__file__")
    places = [file] if file else list(attributes.get("__path__") or ())
    return bool(places) and all(_below(place, roots) for place in places)


def _below(place: object, roots: tuple[str, ...]) -> bool:
    return isinstance(place, str) and f"{place}/".startswith(roots)


def _parent(name: str) -> ModuleType | None:
    """The package of a module, where it is one that several models share."""
    return sys.modules.get(name.rpartition(".")[0])
