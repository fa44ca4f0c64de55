"""Compares the packages that a model was logged with to those that are installed here.

MLflow writes ``requirements.txt`` and ``python_env.yaml`` into an artifact; older artifacts have
only a ``conda.yaml``, whose Python version and ``pip`` list are then read. The files are no
contract: a model may predict without importing a package that they list. Differences are therefore
a warning, and an import that fails names its requirement. Anyone who can register a model writes
these files: they are read as text, up to a limit, and no reference in them is followed.
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
from nocturne.hiding import failed_import
from nocturne.safe_yaml import load_yaml

__all__ = [
    "FILES",
    "Unmet",
    "describe_import_error",
    "import_errors",
    "lists_requirements",
    "load_error",
    "unmet",
    "warning",
]

FILES = ("requirements.txt", "python_env.yaml", "conda.yaml")
"""The files of an artifact that this module reads."""

_BYTES, _LINES, _LINE = 1 << 20, 5_000, 500
_SHOWN = 12
_COMMENT = re.compile(r"(^|\s)#.*|\s--.*")
"""The parts of a line that pip does not read as the requirement: a comment, options."""
_CONDA_PYTHON = re.compile(r"(?:[^:\s]+::)?python(?:\s+|(?=[=<>!~]))(?P<rest>.+)")
_EXACTLY = re.compile(r"={0,2}\s*(?P<version>\d[\w.+]*?)(?:\.\*)?(?:=.*)?")
"""A version in the format of conda or ``python_env.yaml``; conda may add a build."""
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
"""Module -> package, where the names differ."""


@dataclass(frozen=True)
class Unmet:
    """A requirement that is not met. ``installed``: the installed version; "" if there is none."""

    name: str
    requirement: str
    installed: str

    def __str__(self) -> str:
        if not self.installed:
            return f"{self.requirement} is not installed"
        return f"{self.requirement} is required, {self.name} {self.installed} is installed"


def unmet(folder: str | Path) -> tuple[Unmet, ...]:
    """The requirements of a model that are missing here, or installed in another major version.

    Ignored are other minor and patch versions, lines that name no package (options, files, URLs),
    requirements of other platforms, and files that can't be read.
    """
    return (*_python(Path(folder)), *_packages(Path(folder)))


def lists_requirements(folder: str | Path) -> bool:
    """Whether the files of a model list the packages that it was logged with."""
    return _lines(Path(folder)) is not None


def warning(folder: str | Path, what: str) -> str:
    """The unmet requirements as text, for ``prepare`` and ``init``; "" if all are met."""
    differing = unmet(folder)
    if not differing:
        return ""
    return (
        f"WARNING: {what} was logged with other packages than are installed here: "
        f"{_listed(differing)}. If it fails, or its scores are not those of its training, install "
        "what it requires"
    )


@contextmanager
def import_errors(
    folder: str | Path, then: str = "score the partition again; nothing was published"
) -> Iterator[None]:
    """Raises Nocturne's error for a failed import, with the requirement that is not met.

    Args:
        folder: the model's files.
        then: what to do once the package is installed.

    Raises:
        ModelError: in place of an ImportError.
    """
    try:
        yield
    except ImportError as error:
        raise ModelError(
            "the model needs a package that is not installed where it is scored: "
            f"{describe_import_error(folder, error)}. Install it for Spark's workers too, "
            f"then {then}",
            module=error.name,
        ) from error


def describe_import_error(folder: str | Path, error: ImportError) -> str:
    """A failed import as text, with the requirement of the model that is not met."""
    return _last(error) + _requirement_of(Path(folder), error)


def load_error(folder: str | Path, error: Exception) -> ModelError:
    """The error for a model that can't be loaded, with the requirements that may be the reason."""
    failed = failed_import(error)
    why = _requirement_of(Path(folder), failed) if failed is not None else ""
    if not why and (differing := unmet(folder)):
        why = f". It was logged with other packages than are installed here: {_listed(differing)}"
    return ModelError(
        f"the model in {folder} can't be loaded: {type(error).__name__}: {error}{why}. Are the "
        "packages of its requirements.txt installed for Spark's workers?"
    )


def _last(error: ImportError) -> str:
    """Type and last line. A failed import quotes no row, so nothing is redacted."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1][:300].rstrip('.')}" if lines else "ImportError"


def _listed(differing: tuple[Unmet, ...]) -> str:
    more = f"; and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
    return "; ".join(map(str, differing[:_SHOWN])) + more


def _requirement_of(folder: Path, error: ImportError) -> str:
    """The requirement for the module that could not be imported, as text."""
    top = str(error.name or "").partition(".")[0]
    package = canonicalize_name(_MODULES.get(top, top))
    missing = tuple(unmet_ for unmet_ in unmet(folder) if not unmet_.installed)
    matches = [unmet_ for unmet_ in missing if canonicalize_name(unmet_.name) == package]
    file = "requirements.txt" if _text(folder / "requirements.txt") is not None else "conda.yaml"
    if matches:
        return f". Its {file} asks for it: {matches[0]}"
    met = [r for r in _requirements(folder) if canonicalize_name(r.name) == package]
    if met:
        return f". Its {file} asks for {_without_url(met[0])}, which does not have it"
    if missing:
        return f". From its {file}, {_listed(missing)}"
    return ". Its requirements.txt does not name it: log the model with extra_pip_requirements"


def _packages(folder: Path) -> Iterator[Unmet]:
    for requirement in _requirements(folder):
        installed = _installed(requirement.name)
        if installed is None:
            yield Unmet(requirement.name, _without_url(requirement), "")
        elif _other_major(requirement, installed):
            yield Unmet(requirement.name, _without_url(requirement), installed)


def _without_url(requirement: Requirement) -> str:
    """The requirement without its URL, which may contain a token."""
    return f"{requirement.name}{requirement.specifier}"


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name) or ""
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None


def _other_major(requirement: Requirement, installed: str) -> bool:
    """Whether a version does not meet the requirement and has another major version.

    For versions below 1, the second number counts as the major version.
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
    """The lines that name a package for this platform; of each package, the first."""
    by_name: dict[str, Requirement] = {}
    for line in _lines(folder) or ():
        text = _COMMENT.sub("", line).strip()
        if not 0 < len(text) <= _LINE or text.startswith("-"):
            continue
        try:
            requirement = Requirement(text)
            applies = requirement.marker is None or requirement.marker.evaluate()
        except _NO_REQUIREMENT:
            continue  # a path, a URL, or a line that pip would refuse
        if applies:
            by_name.setdefault(canonicalize_name(requirement.name), requirement)
    return list(by_name.values())


def _lines(folder: Path) -> list[str] | None:
    """The lines of requirements.txt, or of ``pip`` in conda.yaml; None if there is neither."""
    text = _text(folder / "requirements.txt")
    if text is not None:
        return _joined(text)
    lists = [item["pip"] for item in _conda(folder) if isinstance(item, dict) and "pip" in item]
    if not lists or not isinstance(lists[0], list):
        return None
    return [line for line in lists[0] if isinstance(line, str)][:_LINES]


def _joined(text: str) -> list[str]:
    """The lines; one that ends in a backslash is joined with the next."""
    return text.replace("\\\r\n", " ").replace("\\\n", " ").splitlines()[:_LINES]


def _text(path: Path) -> str | None:
    """A file's text; None if the file is missing or can't be read."""
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
    """Python, if its minor version differs from the logged one, which pickled code depends on."""
    logged, here = _logged_python(folder), Version(platform.python_version().rstrip("+"))
    if logged is None:
        return
    text, allowed = logged
    patches = (f"{here.major}.{here.minor}.{patch}" for patch in (0, here.micro, 99))
    if not any(allowed.contains(patch) for patch in patches):
        yield Unmet("Python", f"Python {text}", str(here))


def _logged_python(folder: Path) -> tuple[str, SpecifierSet] | None:
    """The logged version as text, and the versions that it allows."""
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
    """The dependencies in conda.yaml: texts, and a mapping for pip."""
    listed = _mapping(folder / "conda.yaml").get("dependencies")
    return listed if isinstance(listed, list) else []


def _mapping(path: Path) -> dict[str, Any]:
    text = _text(path)
    try:
        return load_yaml(text, path.name) if text else {}
    except ConfigError:
        return {}
