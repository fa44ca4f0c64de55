"""What a model was logged with, held against what is installed here.

MLflow writes ``requirements.txt`` and ``python_env.yaml`` into an artifact; older ones have only a
``conda.yaml``, whose Python and ``pip`` list are read then. None of them is a contract:
a package that is listed may never be imported when the model predicts. So what differs is said, and
what then fails names the requirement that it fails for. Whoever registers a model writes these
files: they are read as text, within bounds, and nothing that they point to is followed.
"""

from __future__ import annotations

import codecs
import importlib.metadata
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from nocturne.errors import ConfigError, ModelError
from nocturne.hiding import lacking
from nocturne.safe_yaml import load_yaml

__all__ = ["FILES", "Unmet", "lacks", "naming", "says", "unloadable", "unmet", "warning"]

FILES = ("requirements.txt", "python_env.yaml", "conda.yaml")
"""The files of an artifact that are read here."""

_BYTES, _LINES, _LINE = 1 << 20, 5_000, 500
_SHOWN = 12
_COMMENT = re.compile(r"(^|\s)#.*|\s--.*")
"""Of a line what pip does not read as the requirement: a comment, options."""
_CONDA_PYTHON = re.compile(r"(?:[^:\s]+::)?python(?:\s+|(?=[=<>!~]))(?P<rest>.+)")
_EXACTLY = re.compile(r"={0,2}\s*(?P<version>\d[\w.+]*?)(?:\.\*)?(?:=.*)?")
"""A version as conda or ``python_env.yaml`` says it, with a build perhaps."""
_NO_REQUIREMENT = (
    InvalidRequirement,
    InvalidVersion,
    UndefinedComparison,
    UndefinedEnvironmentName,
    RecursionError,
)
_MODULES = {
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "faiss": "faiss-cpu",
    "PIL": "pillow",
    "sentence_transformers": "sentence-transformers",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
"""Modules whose package has another name."""


@dataclass(frozen=True)
class Unmet:
    """A requirement that is not met. ``installed``: the installed version; "" if there is none."""

    name: str
    requirement: str
    installed: str

    def __str__(self) -> str:
        if not self.installed:
            return f"{self.requirement} is not installed"
        return f"{self.requirement} is asked, {self.name} {self.installed} is installed"


def unmet(folder: str | Path) -> tuple[Unmet, ...]:
    """What of a model's requirements is missing here, or there in another major version.

    A minor or patch version that differs is no matter; neither are lines that name no package
    (options, files, URLs), other platforms' requirements, and a file that can't be read.
    """
    return (*_python(Path(folder)), *_packages(Path(folder)))


def says(folder: str | Path) -> bool:
    """Whether a model's files say which packages it was logged with."""
    return _lines(Path(folder)) is not None


def warning(folder: str | Path, what: str) -> str:
    """One sentence on what is unmet, for whoever prepares or writes a pipeline; "" for nothing."""
    differing = unmet(folder)
    if not differing:
        return ""
    return (
        f"WARNING: {what} was logged with other packages than are installed here: "
        f"{_listed(differing)}. If it fails, or its scores are not those of its training, install "
        "what it asks"
    )


@contextmanager
def naming(
    folder: str | Path, then: str = "score the partition again; nothing was published"
) -> Iterator[None]:
    """Says of a failed import which requirement of the model in ``folder`` it is about.

    Args:
        then: what to do once the package is there.

    Raises:
        ModelError: instead of an ImportError.
    """
    try:
        yield
    except ImportError as error:
        raise ModelError(
            "the model needs a package that is not installed where it is scored: "
            f"{lacks(folder, error)}. Install it for Spark's workers too, then {then}",
            module=error.name,
        ) from error


def lacks(folder: str | Path, error: ImportError) -> str:
    """A failed import in words, and what the requirements of the model in ``folder`` say of it."""
    return _last(error) + _requirement_of(Path(folder), error)


def unloadable(folder: str | Path, error: Exception) -> ModelError:
    """The error of a model that can't be loaded, with the requirements that may be why."""
    failed = lacking(error)
    why = _requirement_of(Path(folder), failed) if failed is not None else ""
    if not why and (differing := unmet(folder)):
        why = f". What it was logged with is not what is installed: {_listed(differing)}"
    return ModelError(
        f"the model in {folder} can't be loaded: {type(error).__name__}: {error}{why}. Are the "
        "packages of its requirements.txt installed for Spark's workers?"
    )


def _last(error: ImportError) -> str:
    """Type and last line; an import is about no row, so nothing is taken out."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1][:300].rstrip('.')}" if lines else "ImportError"


def _listed(differing: tuple[Unmet, ...]) -> str:
    more = f"; and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
    return "; ".join(map(str, differing[:_SHOWN])) + more


def _requirement_of(folder: Path, error: ImportError) -> str:
    """What the requirements say of the module that could not be imported."""
    top = str(error.name or "").partition(".")[0]
    package = canonicalize_name(_MODULES.get(top, top))
    absent = tuple(one for one in unmet(folder) if not one.installed)
    named = [one for one in absent if canonicalize_name(one.name) == package]
    file = "requirements.txt" if _text(folder / "requirements.txt") is not None else "conda.yaml"
    if named:
        return f". Its {file} asks for it: {named[0]}"
    asked = [r for r in _requirements(folder) if canonicalize_name(r.name) == package]
    if asked:
        return f". Its {file} asks for {_without_url(asked[0])}, which does not give it"
    if absent:
        return f". Of its {file} {_listed(absent)}"
    return ". Its requirements.txt does not name it: log the model with extra_pip_requirements"


def _packages(folder: Path) -> Iterator[Unmet]:
    for requirement in _requirements(folder):
        installed = _installed(requirement.name)
        if installed is None:
            yield Unmet(requirement.name, _without_url(requirement), "")
        elif _other_major(requirement, installed):
            yield Unmet(requirement.name, _without_url(requirement), installed)


def _without_url(requirement: Requirement) -> str:
    """Without its URL, which may hold a token."""
    return f"{requirement.name}{requirement.specifier}"


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name) or ""
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None


def _other_major(requirement: Requirement, installed: str) -> bool:
    """Whether a version is not what is asked, and differs in more than minor things.

    Of versions below 1 the second number counts as the major one.
    """
    try:
        version = Version(installed)
        if requirement.specifier.contains(version, prereleases=True):
            return False
        pinned = [
            Version(specifier.version.removesuffix(".*"))
            for specifier in requirement.specifier
            if specifier.operator in ("==", "===", "~=")
        ]
    except InvalidVersion:
        return False
    return all(_major(specifier) != _major(version) for specifier in pinned)


def _major(version: Version) -> tuple[int, int]:
    return version.major, version.minor if version.major == 0 else 0


def _requirements(folder: Path) -> list[Requirement]:
    """The lines that name a package for this platform, each once."""
    by_name: dict[str, Requirement] = {}
    for line in _lines(folder) or ():
        text = _COMMENT.sub("", line).strip()
        if not 0 < len(text) <= _LINE or text.startswith("-"):
            continue
        try:
            requirement = Requirement(text)
            applies = requirement.marker is None or requirement.marker.evaluate()
        except _NO_REQUIREMENT:
            continue  # a path, a URL, or nothing that pip would take
        if applies:
            by_name.setdefault(canonicalize_name(requirement.name), requirement)
    return list(by_name.values())


def _lines(folder: Path) -> list[str] | None:
    """Of requirements.txt, else of the list ``pip`` in conda.yaml; None where there is neither."""
    text = _text(folder / "requirements.txt")
    if text is not None:
        return _joined(text)
    lists = [one["pip"] for one in _conda(folder) if isinstance(one, dict) and "pip" in one]
    if not lists or not isinstance(lists[0], list):
        return None
    return [line for line in lists[0] if isinstance(line, str)][:_LINES]


def _joined(text: str) -> list[str]:
    """Lines, with those that end in a backslash put together."""
    return text.replace("\\\r\n", " ").replace("\\\n", " ").splitlines()[:_LINES]


def _text(path: Path) -> str | None:
    """A file's text; None if there is none that can be read."""
    try:
        if not path.is_file() or path.stat().st_size > _BYTES:
            return None
        data = path.read_bytes()
    except OSError:
        return None
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _python(folder: Path) -> Iterator[Unmet]:
    """Python, if the model was logged with another minor version: pickles of code need the same."""
    logged, here = _logged_python(folder), Version(platform.python_version().rstrip("+"))
    if logged is None:
        return
    text, allowed = logged
    patches = (f"{here.major}.{here.minor}.{patch}" for patch in (0, here.micro, 99))
    if not any(allowed.contains(patch) for patch in patches):
        yield Unmet("Python", f"Python {text}", str(here))


def _logged_python(folder: Path) -> tuple[str, SpecifierSet] | None:
    """As it is said, and what versions that means."""
    stated: Any = _mapping(folder / "python_env.yaml").get("python")
    if stated is None:
        matches = (
            _CONDA_PYTHON.fullmatch(line) for line in _conda(folder) if isinstance(line, str)
        )
        stated = next((match["rest"] for match in matches if match), None)
    text = str(stated).strip()[:_LINE] if stated is not None else ""
    try:
        if exact := _EXACTLY.fullmatch(text):
            version = Version(exact["version"])
            return str(version), SpecifierSet("==" + ".".join(map(str, version.release[:2])) + ".*")
        return (text, SpecifierSet(text)) if text else None
    except (InvalidVersion, InvalidSpecifier):
        return None


def _conda(folder: Path) -> list[Any]:
    """What conda.yaml lists: texts, and a mapping for pip."""
    listed = _mapping(folder / "conda.yaml").get("dependencies")
    return listed if isinstance(listed, list) else []


def _mapping(path: Path) -> dict[str, Any]:
    text = _text(path)
    try:
        return load_yaml(text, path.name) if text else {}
    except ConfigError:
        return {}
