"""Loads the layers base < env < pipeline < run parameters, with the origin of each value."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from nocturne.config.alerts import CHANNELS
from nocturne.config.challengers import champion_of, derived, named
from nocturne.config.models import DEFAULT_POOL, NAME, Challenger, Pipeline, Registry, Spark
from nocturne.config.section import HIDDEN_VALUE
from nocturne.errors import ConfigError, choices, did_you_mean
from nocturne.model.tracking import without_secret
from nocturne.objects import Location, ObjectPath, is_uri
from nocturne.safe_yaml import load_yaml

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["POOLS", "Loaded", "home", "load", "merge", "names", "project_sections"]

POOLS = "conf/pools.json"
"""Airflow's pools, in the format of ``airflow pools export``."""
Tree = dict[str, Any]


class Loaded:
    """A validated pipeline with the origin of every value.

    Attributes:
        pipeline: the configuration.
        origins: dotted key -> the origin of its value ("default" if no layer sets it).
        home: the project's root; relative paths start there.
    """

    def __init__(self, pipeline: Pipeline, origins: dict[str, str], home: Path) -> None:
        self.pipeline = pipeline
        self.origins = origins
        self.home = home

    def path(self, text: str) -> Path:
        """A configured path as an absolute path.

        Raises:
            ConfigError: the path has an unknown user (`~nobody`) or a loop of links, or is a URI.
        """
        if is_uri(text):
            raise ConfigError(f"{text} is in an object store, and a local folder is needed here")
        try:
            return (self.home / Path(text).expanduser()).resolve()
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigError(f"the path {text!r} leads nowhere: {error}") from None

    def location(self, text: str) -> Location:
        """A configured path or URI.

        Raises:
            ConfigError: as ``path``.
        """
        return ObjectPath.of(text) if is_uri(text) else self.path(text)

    def with_output(self, **changes: Any) -> Loaded:
        """The pipeline with some values of its ``output`` replaced.

        Raises:
            ConfigError: they don't fit together.
        """
        tree = self.pipeline.model_dump(mode="json", exclude_unset=True)
        tree["output"] = {**tree["output"], **changes}
        try:
            return Loaded(Pipeline.model_validate(tree), self.origins, self.home)
        except ValidationError as error:
            raise ConfigError(_explain(error, self.origins, "the command")) from None

    def challenger(self, challenger: Challenger) -> Loaded:
        """One of its challengers as a pipeline: see ``nocturne.config.challengers``.

        Raises:
            ConfigError: what is given of it does not fit the rest.
        """
        try:
            return Loaded(derived(self.pipeline, challenger), self.origins, self.home)
        except ValidationError as error:
            raise ConfigError(_explain(error, self.origins, challenger.called)) from None

    def suite(self, name: str) -> Path:
        """The file of a suite in conf/expectations/.

        Raises:
            ConfigError: the file is outside of this folder or does not exist.
        """
        folder = (self.home / "conf" / "expectations").resolve()
        path = (folder / name).resolve()
        if folder not in path.parents:
            raise ConfigError(f"suite {name!r} lies outside of {folder}; give a file name in it")
        if not path.is_file():
            existing = ", ".join(sorted(p.name for p in folder.glob("*"))) or "(no file)"
            raise ConfigError(f"no suite {name!r} in {folder}: it has {existing}")
        return path

    def values(self) -> Iterator[tuple[str, Any, str]]:
        """(dotted key, value, origin) of every setting, in the model's order."""
        for key, value in _leaves(self.pipeline.model_dump(mode="json")):
            yield key, value, self.origins.get(key, "default")


def home() -> Path:
    """The project: NOCTURNE_HOME, or the nearest folder upwards with a conf/base.yaml.

    Raises:
        ConfigError: there is neither.
    """
    configured = os.environ.get("NOCTURNE_HOME")
    if configured:
        if not (Path(configured) / "conf" / "base.yaml").is_file():
            raise ConfigError(
                f"NOCTURNE_HOME is {configured}, which has no conf/base.yaml; set it to the folder "
                "that holds conf/"
            )
        return Path(configured).resolve()
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if (folder / "conf" / "base.yaml").is_file():
            return folder
    raise ConfigError(
        f"no conf/base.yaml in {here} or above it; run this in the project's folder or set "
        "NOCTURNE_HOME to it"
    )


def names(root: Path) -> list[str]:
    """The names of the pipelines with a YAML file, sorted."""
    return sorted(p.stem for p in (root / "conf" / "pipelines").glob("*.yaml"))


def merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> Tree:
    """Deep merge; a value of ``high`` wins, also 0, false, "" and null."""
    merged = dict(low)
    for key, value in high.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[key] = merge(below, value)
        else:
            merged[key] = value
    return merged


def load(
    name: str,
    *,
    env: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    root: Path | None = None,
) -> Loaded:
    """The pipeline ``name`` from its layers.

    Args:
        env: the name of conf/env/<env>.yaml; default: NOCTURNE_ENV, else "local".
        overrides: run parameters with dotted keys, e.g. {"scoring.micro_batch": 512}.
            A value of None is ignored.

    Raises:
        ConfigError: there is no such pipeline or environment, or a value is wrong; the message
            names the file, the key, the value and the choices.
    """
    root, asked, name = root or home(), name, champion_of(name)
    if not NAME.fullmatch(name) or not (root / "conf" / "pipelines" / f"{name}.yaml").is_file():
        raise ConfigError(
            f"no pipeline {name!r}: expected one of {choices(names(root))} "
            f"(the YAML files in {root / 'conf' / 'pipelines'})",
            name=name,
        )
    env = env or os.environ.get("NOCTURNE_ENV") or "local"
    available = sorted(p.stem for p in (root / "conf" / "env").glob("*.yaml"))
    if env not in available:
        raise ConfigError(
            f"no environment {env!r} (NOCTURNE_ENV): expected one of {choices(available)} "
            f"(the YAML files in {root / 'conf' / 'env'})"
        )
    tree: Tree = {}
    origins: dict[str, str] = {}
    for file in ("conf/base.yaml", f"conf/env/{env}.yaml", f"conf/pipelines/{name}.yaml"):
        tree = _add(tree, origins, _read(root / file), file)
    version = None
    for key, value in (overrides or {}).items():
        if key == "model.version" and asked != name:
            version = value  # of the challenger's model
        elif value is not None:
            tree = _add(tree, origins, _nested(key, value), "run parameter")
    tree.setdefault("name", name)
    if tree["name"] != name:
        raise ConfigError(
            f"conf/pipelines/{name}.yaml: name: got {tree['name']!r}, expected {name!r}, the "
            "file's own name"
        )
    try:
        pipeline = Pipeline.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_explain(error, origins, f"conf/pipelines/{name}.yaml")) from None
    pool, existing = pipeline.schedule.pool, pools(root)
    if pool not in existing:
        origin = origins["schedule.pool"]
        raise ConfigError(
            f"{origin}: schedule.pool: got {pool!r}, expected {choices(sorted(existing))}; Airflow "
            f"would never start its task. Add the pool to {POOLS} and run `airflow pools import "
            f"{POOLS}`"
        )
    loaded = Loaded(pipeline, origins, root)
    return loaded if asked == name else loaded.challenger(named(pipeline, asked, version))


def pools(root: Path) -> set[str]:
    """The Airflow pools: its own pool, and those of conf/pools.json.

    Raises:
        ConfigError: the file is not a JSON object.
    """
    try:
        exported = json.loads((root / POOLS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        exported = {}
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{POOLS} can't be read as JSON: {error}") from None
    if not isinstance(exported, dict):
        raise ConfigError(f"{POOLS}: expected an object, as `airflow pools export` writes it")
    return {DEFAULT_POOL, *exported}


def project_sections(root: Path, env: str | None = None) -> tuple[Registry, Spark]:
    """The sections for MLflow and Spark of base and environment, for commands without a pipeline.

    Raises:
        ConfigError: a file is missing, or a value is wrong.
    """
    env = env or os.environ.get("NOCTURNE_ENV") or "local"
    tree: Tree = {}
    origins: dict[str, str] = {}
    for file in ("conf/base.yaml", f"conf/env/{env}.yaml"):
        tree = _add(tree, origins, _read(root / file), file)
    try:
        sections = _Sections.model_validate({k: tree.get(k, {}) for k in _Sections.model_fields})
    except ValidationError as error:
        raise ConfigError(_explain(error, origins, "conf/base.yaml")) from None
    return sections.registry, sections.spark


class _Sections(BaseModel):
    registry: Registry
    spark: Spark


def _read(path: Path) -> Tree:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing; `nocturne init` writes one") from None
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from None
    if all(
        line.strip() in (b"", b"---") or line.lstrip().startswith(b"#")
        for line in text.splitlines()
    ):
        return {}  # a layer of comments
    return load_yaml(text, str(path))


def _add(tree: Tree, origins: dict[str, str], layer: Tree, origin: str) -> Tree:
    model = layer.get("model")
    selectors = {"alias", "tags", "version"} & set(model if isinstance(model, Mapping) else ())
    if selectors and isinstance(tree.get("model"), Mapping):
        # A layer that selects a model replaces the selector of the layers below, of any kind.
        below = {k: v for k, v in tree["model"].items() if k not in {"alias", "tags", "version"}}
        tree = {**tree, "model": below}
    for key, _ in _leaves(layer):
        origins[key] = origin
    return merge(tree, layer)


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{dotted}.")
        else:
            yield dotted, value


def _nested(key: str, value: Any) -> Tree:
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


def _explain(error: ValidationError, origins: Mapping[str, str], default: str) -> str:
    lines = []
    for problem in error.errors():
        key, message = _key(problem), _message(problem)
        origin = next(
            (
                o
                for k, o in origins.items()
                if k == key or k.startswith(f"{key}.") or key.startswith(f"{k}.")
            ),
            default,
        )
        lines.append(f"{origin}: {key or 'pipeline'}: {message}")
    return "\n".join(lines)


def _key(problem: ErrorDetails) -> str:
    """The dotted key of a problem."""
    location = [str(part) for part in problem["loc"]]
    if _channel(location):  # pydantic adds the channel after the alert's number
        del location[2]
    if problem["type"].startswith("union_tag_"):
        location.append(problem["ctx"]["discriminator"].strip("'"))
    return ".".join(location)


def _channel(location: Sequence[str]) -> str | None:
    """The channel, if the location is in an alert."""
    return location[2] if location[:1] == ["alerts"] and len(location) > 2 else None


def _message(problem: ErrorDetails) -> str:
    if problem["type"] == "extra_forbidden":
        return _unknown([str(part) for part in problem["loc"]])
    if problem["type"] in ("missing", "union_tag_not_found"):
        return "missing; it has no default"
    if problem["type"] == HIDDEN_VALUE:
        return problem["msg"]
    if problem["type"] == "union_tag_invalid":
        first, last = problem["ctx"]["expected_tags"].rsplit(", ", 1)
        return f"got {problem['ctx']['tag']!r}: Input should be {first} or {last}"
    value = without_secret(repr(problem["input"]))
    return f"got {value}: {problem['msg'].removeprefix('Value error, ')}"


def _unknown(location: Sequence[str]) -> str:
    key, channel = location[-1], _channel(location)
    valid = _valid_keys(location[:-1])
    advice = ""
    other_channels = [name for name, other in CHANNELS.items() if key in other.model_fields]
    if channel and other_channels:
        advice = f"; {key} is for {choices(other_channels)}"
    near = "" if advice else did_you_mean(key, valid)
    return f"unknown key{near}; expected one of {choices(valid, 30)}{advice}"


def _valid_keys(location: Sequence[str]) -> list[str]:
    model: Any = CHANNELS.get(_channel(location) or "", Pipeline)
    for part in location[3:] if model is not Pipeline else location:
        fields = getattr(model, "model_fields", {})
        if part in fields:
            model = fields[part].annotation
        else:  # an item of a list, or the name of one of several models
            inner = get_args(model)
            matches = (m for m in inner if getattr(m, "__name__", "") == part)
            model = next(matches, inner[0] if inner else None)
    return list(getattr(model, "model_fields", {}))
