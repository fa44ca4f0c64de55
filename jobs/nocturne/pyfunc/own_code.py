"""Separates the code that models bring (MLflow's ``code_paths``) if a process has several models.

MLflow puts a model's code folder on ``sys.path`` and leaves it there, and imported modules stay in
``sys.modules``: a second model with a module of the same name would run the module of the first.
So the modules and path entries of a model are present only while this model is called.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

__all__ = ["enter"]


@dataclass
class _Own:
    """The path entries and modules of a model, kept while another model is called."""

    path: list[str] = field(default_factory=list)
    modules: dict[str, ModuleType] = field(default_factory=dict)


_here = ""
_aside: dict[str, _Own] = {}


def enter(home: str) -> None:
    """Put the code in a model's folder on the path, and take the code of other models off.

    Call it before the model is loaded and before each call of the model, which may also import.
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
    """Decided by the module's file, or for a package without a file by its folders. It reads
    ``__dict__``, so that no lazy module is loaded."""
    attributes = getattr(module, "__dict__", {})
    file = attributes.get("__file__")
    places = [file] if file else list(attributes.get("__path__") or ())
    return bool(places) and all(_below(place, roots) for place in places)


def _below(place: object, roots: tuple[str, ...]) -> bool:
    return isinstance(place, str) and f"{place}/".startswith(roots)


def _parent(name: str) -> ModuleType | None:
    """The package of a module, if it is imported; several models may share it."""
    return sys.modules.get(name.rpartition(".")[0])
