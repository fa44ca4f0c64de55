"""Resolves an alias, tags or a version to a model from the registry, pinned and verified.

This happens once per run. The files of the version are copied into the pipeline's state under the
hash of their content, so that everything that follows (workers, retries, a replay) reads exactly
the files that the run key names, even if the registry no longer answers.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nocturne.codec import load
from nocturne.encoding import ENCODING_FILE, Encoding, output_of
from nocturne.errors import ConfigError, ModelError, RegistryUnavailable, choices, disk_errors
from nocturne.model.artifact import (
    BASELINE_FILE,
    code_in,
    is_pt2,
    mlmodel,
    require_plain_files,
)
from nocturne.model.copies import check_copy, keep
from nocturne.model.declared_inputs import DeclaredInputs, Inputs
from nocturne.model.digests import check_digest
from nocturne.model.signature import encoding_of_signature, signature_of
from nocturne.model.signatures import check_signature
from nocturne.model.tracking import connect, equal, reachable, without_secret
from nocturne.objects import Location
from nocturne.records.drift import Baseline
from nocturne.records.plan import ModelRef
from nocturne.store.pipeline_state import models_here

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

__all__ = [
    "BASELINE_FILE",
    "Resolved",
    "backend_of",
    "require_loadable",
    "resolve",
    "version_of",
    "versions_of",
]


class Resolved:
    """A pinned model with the files logged beside it, and its inputs and params from the YAML."""

    def __init__(
        self, ref: ModelRef, inputs: Inputs | None = None, params: Mapping[str, Any] | None = None
    ) -> None:
        self.ref, self.inputs, self.params = ref, inputs, params or {}

    @property
    def encoding(self) -> Encoding:
        """The encoding spec, or the encoding from the MLflow signature and the YAML.

        An output without a declared name or type gets a default one.
        """
        return self.declared.complete()

    @property
    def has_spec(self) -> bool:
        """Whether the model has an encoding spec, which declares its inputs and outputs."""
        return _find(self.ref.path, ENCODING_FILE) is not None

    @cached_property
    def declared(self) -> Encoding:
        """``encoding``, but an output without a declared name or type has none."""
        spec_file = _find(self.ref.path, ENCODING_FILE)
        what = f"model {self.ref.name} version {self.ref.version}"
        if spec_file is not None and self.inputs:
            raise ConfigError(
                f"model.inputs: {what} has an {ENCODING_FILE} that declares its inputs; take "
                "model.inputs out"
            )
        if self.params and (spec_file is not None or self.ref.backend != "pyfunc"):
            raise ConfigError(f"model.params: {what} is a torch graph, which takes none")
        if spec_file is not None:
            return Encoding.from_json(spec_file.read_bytes(), f"{self.ref.name}: {ENCODING_FILE}")
        return encoding_of_signature(self.ref, self.inputs, self.params)

    def with_outputs(self, declared: Mapping[str, str]) -> Encoding:
        """The declared encoding with other outputs: name -> type, as in ``model.outputs``.

        Raises:
            ConfigError: the encoding spec already declares outputs, or a type is unknown.
        """
        if not declared:
            return self.declared
        if self.has_spec:
            raise ConfigError(
                "model.outputs is for models without an encoding spec; "
                f"{self.ref.name} version {self.ref.version} has one, which says its outputs: "
                "take model.outputs out, or log the model with other ones"
            )
        try:
            outputs = tuple(output_of(name, text) for name, text in declared.items())
        except ValueError as error:
            raise ConfigError(f"model.outputs: {error}") from None
        return replace(self.declared, outputs=outputs)

    @cached_property
    def declared_inputs(self) -> DeclaredInputs | None:
        """The inputs that the MLflow signature declares; None if the model has a spec."""
        return None if self.has_spec else signature_of(self.ref).inputs

    @cached_property
    def baseline(self) -> Baseline | None:
        """The baseline logged with the model, if there is one."""
        file = _find(self.ref.path, BASELINE_FILE)
        return None if file is None else _baseline(str(file), file.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _baseline(path: str, written: int) -> Baseline:
    """Parsed once per process, since all nights of a range are compared with the same baseline."""
    return load(Baseline, Path(path).read_bytes(), path)


def resolve(
    *,
    name: str,
    alias: str | None,
    tags: Mapping[str, str] | None,
    version: int | None,
    allow_pickle: bool,
    require_digest: bool = False,
    require_signature: Path | None = None,
    tracking_uri: str,
    registry_uri: str | None = None,
    models: Location,
    inputs: Inputs | None = None,
    params: Mapping[str, Any] | None = None,
) -> Resolved:
    """The model behind a selector, downloaded into ``models`` and verified.

    Args:
        require_digest: whether the version must have the tag with its digest.
        require_signature: the public key of those who may have signed it.
        inputs, params: ``model.inputs`` and ``model.params`` of the pipeline.
        registry_uri: where models are registered; default: ``tracking_uri``.

    Raises:
        ModelError: there is no such model, alias, tags or version (the message lists what exists),
            the model has no flavor that can be scored, its artifact contains code and this is
            not allowed, or its files are not those that were registered, or signed.
        ConfigError: the public key can't be used.
        RegistryUnavailable: the server did not answer.
        RetryableError: there is no space left for the model's files.
    """
    registry = registry_uri or tracking_uri
    client = connect(tracking_uri, registry)
    with reachable(registry):
        model_version = _select(client, name, alias, tags, version, registry)
    with reachable(tracking_uri), disk_errors():
        folder, sha256 = _pin(client, model_version, models)
    check_digest(model_version, sha256, required=require_digest)
    if require_signature is not None:
        check_signature(model_version, folder, require_signature)
    ref = _ref(model_version, _selector(alias, tags, version), folder, sha256, allow_pickle)
    return Resolved(ref, inputs, params)


def version_of(
    *,
    name: str,
    alias: str | None,
    tags: Mapping[str, str] | None,
    tracking_uri: str,
    registry_uri: str | None = None,
) -> int:
    """The version that a selector means now; nothing is downloaded.

    Raises:
        ModelError: there is no such model, alias or tags (the message lists what exists).
        RegistryUnavailable: the server did not answer.
    """
    registry = registry_uri or tracking_uri
    client = connect(tracking_uri, registry)
    with reachable(registry):
        return int(_select(client, name, alias, tags, None, registry).version)


def _selector(alias: str | None, tags: Mapping[str, str] | None, version: int | None) -> str:
    if alias:
        return f"alias {alias}"
    if tags:
        return "tags " + ", ".join(f"{k}={v}" for k, v in sorted(tags.items()))
    return f"version {version}"


def _select(
    client: MlflowClient,
    name: str,
    alias: str | None,
    tags: Mapping[str, str] | None,
    version: int | None,
    uri: str,
) -> ModelVersion:
    from mlflow.exceptions import MlflowException

    try:
        model = client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        models = [m.name for m in client.search_registered_models(max_results=100)]
        before, _, after = name.rpartition("@")
        advice = f" (an alias is model.alias: {after})" if before in models else ""
        raise ModelError(
            f"no model {name!r} in the registry at {without_secret(uri)}: it has "
            f"{choices(models)}. Correct model.name{advice}, or register it with "
            "mlflow.register_model",
            name=name,
        ) from None
    if alias:
        if alias not in model.aliases:
            raise ModelError(
                f"model {name!r} has no alias {alias!r}: it has {choices(model.aliases)}. Set it "
                f"with MlflowClient().set_registered_model_alias({name!r}, {alias!r}, VERSION)",
                name=name,
                alias=alias,
            )
        return client.get_model_version_by_alias(name, alias)
    versions = versions_of(client, name)
    if version is not None:
        for candidate in versions:
            if int(candidate.version) == version:
                return candidate
        existing = sorted(int(v.version) for v in versions)
        raise ModelError(
            f"model {name!r} has no version {version}: it has "
            f"{', '.join(map(str, existing)) or 'none'}",
            name=name,
            version=version,
        )
    required = dict(tags or {})
    matches = [v for v in versions if required.items() <= dict(v.tags).items()]
    if not matches:
        existing_tags = {
            f"{key}={text}"
            for version_ in versions
            for key, text in dict(version_.tags).items()
            if not key.startswith("nocturne.")
        }
        raise ModelError(
            f"no version of model {name!r} carries all of the {_selector(None, required, None)}: "
            f"its versions carry {choices(existing_tags)}",
            name=name,
            tags=required,
        )
    return max(matches, key=lambda v: int(v.version))


def versions_of(client: MlflowClient, name: str) -> list[ModelVersion]:
    """The versions of the model of this name; empty if there is no such model."""
    return [v for v in client.search_model_versions(equal("name", name)) if v.name == name]


def _pin(client: MlflowClient, model_version: ModelVersion, models: Location) -> tuple[Path, str]:
    """Copies the version's files into ``models``, under the hash of their content."""
    import mlflow.artifacts

    what = _label(model_version)
    if model_version.status != "READY":
        raise ModelError(
            f"{what} is {model_version.status}, not READY; wait for its registration, or register "
            "it again"
        )
    folder = models_here(models)
    folder.mkdir(parents=True, exist_ok=True)
    download = folder / f".download-{os.getpid()}-{os.urandom(4).hex()}"
    try:
        source = _local_source(client, model_version)
        if source is not None:
            require_plain_files(source, what)
        with _download_errors(what, download):
            mlflow.artifacts.download_artifacts(
                artifact_uri=f"models:/{model_version.name}/{model_version.version}",
                dst_path=str(download),
                tracking_uri=client.tracking_uri,
            )
        require_plain_files(download, what)
        return keep(download, models, what)
    finally:
        shutil.rmtree(download, ignore_errors=True)


def _local_source(client: MlflowClient, model_version: ModelVersion) -> Path | None:
    """The artifact's folder if it is on this machine. MLflow follows its links, so check them."""
    from mlflow.utils.file_utils import local_file_uri_to_path

    uri = client.get_model_version_download_uri(model_version.name, model_version.version)
    if not uri.startswith(("file:", "/")):
        return None
    path = Path(local_file_uri_to_path(uri))
    return path if path.is_dir() else None


@contextmanager
def _download_errors(what: str, into: Path) -> Iterator[None]:
    """Raises Nocturne's errors for a failed copy. MLflow joins the errors of all files as text."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        text = str(error)
        for number in (errno.ENOSPC, errno.EDQUOT):
            if f"[Errno {number}]" in text:
                raise OSError(number, os.strerror(number), str(into)) from error
        if "failures occurred while downloading" not in text:
            raise
        raise RegistryUnavailable(
            f"the files of {what} can't be copied: {text.strip()}. Check that the artifact store "
            "answers and has them, then run this again"
        ) from error


def _ref(
    model_version: ModelVersion, selector: str, folder: Path, sha256: str, allow_pickle: bool
) -> ModelRef:
    """Raises: ModelError if the model can't be scored, or contains code that is not allowed."""
    what = _label(model_version)
    metadata = mlmodel(folder, what)
    return ModelRef(
        name=model_version.name,
        version=int(model_version.version),
        selector=selector,
        backend=backend_of(folder, what, allow_pickle),
        sha256=sha256,
        path=str(folder),
        run_id=model_version.run_id or None,
        model_id=str(metadata["model_id"]) if metadata.get("model_id") else None,
        flavors=tuple(sorted(metadata["flavors"])),
    )


def backend_of(
    folder: Path, what: str, allow_pickle: bool
) -> Literal["torch", "torch_pickled", "pyfunc"]:
    """What loads the model in a folder; decided again before a stored decision is used.

    Raises:
        ModelError: the model can't be scored, or contains code that is not allowed.
    """
    metadata = mlmodel(folder, what)
    flavors = metadata["flavors"]
    native = is_pt2(folder, metadata)
    if not native and "python_function" not in flavors:
        raise ModelError(
            f"{what} has the flavors {choices(flavors)}: neither a pytorch model saved as pt2 nor "
            "a python_function. Log it again with nocturne.contract.log_torch_model, or with a "
            "flavor that has a pyfunc"
        )
    code = code_in(folder, metadata)
    if code and not allow_pickle:
        files = "; ".join(f"{name}: {why}" for name, why in code.items())
        raise ModelError(
            f"{what} holds what may be code that runs when it is loaded: {files}. Export the model "
            "as data instead (torch: save as pt2 with nocturne.contract.log_torch_model; "
            "scikit-learn: mlflow.sklearn.log_model(..., serialization_format='skops'), and where "
            "a skops file has other types, log what they were for, such as best_estimator_ of a "
            "search; ONNX, XGBoost, LightGBM's Booster and CatBoost are data), or, if you trust "
            "whoever registered it, set model.allow_pickle: true (its own allow_pickle, if it is "
            "that of a challenger, a canary or a split)",
            model=what,
            files=sorted(code),
        )
    pickled = any(name.endswith(".pt2") for name in code)
    return "pyfunc" if not native else "torch_pickled" if pickled else "torch"


def _label(model: ModelVersion | ModelRef) -> str:
    return f"model {model.name} version {model.version}"


def require_loadable(ref: ModelRef, allow_pickle: bool) -> None:
    """Check a pinned model as when it was resolved: its record and its copy may have been changed
    since then.

    Raises:
        ModelError: the copy is missing or was changed, contains code that is not allowed, or needs
            another backend than the record says.
    """
    what = _label(ref)
    try:
        check_copy(ref)
        folder = Path(ref.path)
        require_plain_files(folder, what)
        backend = backend_of(folder, what, allow_pickle)
    except OSError as error:
        raise ModelError(
            f"the pinned copy of {what} in {ref.path} can't be read: {error}. Check its rights, or "
            "delete that folder and prepare the partition again"
        ) from error
    if backend != ref.backend:
        raise ModelError(
            f"{what} in {ref.path} is loaded as {backend}, its run says {ref.backend}: it was "
            "changed, or prepared by another version of Nocturne. Prepare the partition again"
        )


def _find(folder: str, name: str) -> Path | None:
    path = Path(folder) / name
    return path if path.is_file() else None
