"""The registry room: an alias, tags or a version becomes a pinned, verified model.

Resolved once a run. The version's files are copied into the pipeline's state under the
hash of their content, so that everything later (workers, retries, a replay) reads the
very files that the run key names, whether or not the registry still answers.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from nocturne.encoding import ENCODING_FILE, FRAME_TYPES, Encoding, Feature, OutputSpec, TensorSpec
from nocturne.errors import ModelError, choices
from nocturne.files import digest, file_digest
from nocturne.records import Baseline, ModelRef, load
from nocturne.tracking import connect, reachable, without_secret

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

__all__ = ["BASELINE_FILE", "Resolved", "check_copy", "resolve", "version_of"]

BASELINE_FILE = "baseline.json"
_PICKLES = (".pkl", ".pickle", ".joblib", ".cloudpickle", ".pth", ".pt")


class Resolved:
    """A pinned model with what was logged beside it."""

    def __init__(self, ref: ModelRef) -> None:
        self.ref = ref

    @cached_property
    def encoding(self) -> Encoding:
        """The encoding spec, or for a pyfunc model what its MLflow signature says."""
        found = _find(self.ref.path, ENCODING_FILE)
        if found is not None:
            return Encoding.from_json(found.read_bytes(), f"{self.ref.name}: {ENCODING_FILE}")
        if self.ref.backend == "torch":
            raise ModelError(
                f"model {self.ref.name} version {self.ref.version} is a pt2 module without "
                f"{ENCODING_FILE}: nothing says which columns become its tensors. Log it with "
                "nocturne.contract.log_torch_model",
                model=self.ref.name,
            )
        return _encoding_of_signature(self.ref)

    @cached_property
    def baseline(self) -> Baseline | None:
        """The baseline logged with the model, if there is one."""
        found = _find(self.ref.path, BASELINE_FILE)
        return None if found is None else _baseline(str(found), found.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _baseline(path: str, written: int) -> Baseline:
    """Parsed once a process: the nights of a range are judged with one."""
    return load(Baseline, Path(path).read_bytes(), path)


def resolve(
    *,
    name: str,
    alias: str | None,
    tags: Mapping[str, str] | None,
    version: int | None,
    allow_pickle: bool,
    tracking_uri: str,
    store: Path,
) -> Resolved:
    """The model behind a selector, downloaded into ``store`` and verified.

    Raises:
        ModelError: no such model, alias, tags or version (lists what exists), no flavor that
            can be scored, or a pickle artifact that is not allowed.
        RegistryUnavailable: the server did not answer.
    """
    client = connect(tracking_uri)
    with reachable(tracking_uri):
        found = _select(client, name, alias, tags, version, tracking_uri)
        ref = _pin(client, found, _words(alias, tags, version), store)
    if not allow_pickle:
        _refuse_pickles(ref)
    return Resolved(ref)


def version_of(
    *, name: str, alias: str | None, tags: Mapping[str, str] | None, tracking_uri: str
) -> int:
    """Which version a selector means now; nothing is downloaded.

    Raises:
        ModelError: no such model, alias or tags (lists what exists).
        RegistryUnavailable: the server did not answer.
    """
    client = connect(tracking_uri)
    with reachable(tracking_uri):
        return int(_select(client, name, alias, tags, None, tracking_uri).version)


def _words(alias: str | None, tags: Mapping[str, str] | None, version: int | None) -> str:
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

    quoted = name.replace("'", "''")
    try:
        model = client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        known = [m.name for m in client.search_registered_models(max_results=100)]
        raise ModelError(
            f"no model {name!r} in the registry at {without_secret(uri)}: it has "
            f"{choices(known)}. Correct model.name, or register it with "
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
    versions = client.search_model_versions(f"name = '{quoted}'")
    if version is not None:
        for candidate in versions:
            if int(candidate.version) == version:
                return candidate
        existing = sorted(int(v.version) for v in versions)
        raise ModelError(
            f"model {name!r} has no version {version}: it has {', '.join(map(str, existing))}",
            name=name,
            version=version,
        )
    wanted = dict(tags or {})
    fitting = [v for v in versions if wanted.items() <= dict(v.tags).items()]
    if not fitting:
        existing_tags = {f"{k}={t}" for v in versions for k, t in dict(v.tags).items()}
        raise ModelError(
            f"no version of model {name!r} carries all of the {_words(None, wanted, None)}: "
            f"its versions carry {choices(existing_tags)}",
            name=name,
            tags=wanted,
        )
    return max(fitting, key=lambda v: int(v.version))


def _pin(client: MlflowClient, found: ModelVersion, selector: str, store: Path) -> ModelRef:
    """Copies the version's files below ``store``, under the hash of their content."""
    import mlflow.artifacts

    if found.status != "READY":
        raise ModelError(
            f"model {found.name} version {found.version} is {found.status}, not READY; wait for "
            "its registration, or register it again"
        )
    store.mkdir(parents=True, exist_ok=True)
    download = store / f".download-{os.getpid()}-{os.urandom(4).hex()}"
    try:
        mlflow.artifacts.download_artifacts(
            artifact_uri=f"models:/{found.name}/{found.version}",
            dst_path=str(download),
            tracking_uri=client.tracking_uri,
        )
        sha256 = _tree_digest(download)
        final = store / sha256[:32]
        verified = False
        if not final.exists():
            try:
                os.rename(download, final)
                verified = True
            except OSError:
                if not final.exists():
                    raise
    finally:
        shutil.rmtree(download, ignore_errors=True)
    if not verified and _tree_digest(final) != sha256:
        raise ModelError(
            f"the stored copy of model {found.name} version {found.version} in {final} was "
            "changed; delete that folder and run this again"
        )
    flavors = _mlmodel(final).get("flavors", {})
    native = "pytorch" in flavors and any(final.rglob("*.pt2"))
    if not native and "python_function" not in flavors:
        raise ModelError(
            f"model {found.name} version {found.version} has the flavors {choices(flavors)}: "
            "neither a pytorch model saved as pt2 nor a python_function. Log it again with "
            "nocturne.contract.log_torch_model, or with a flavor that has a pyfunc"
        )
    return ModelRef(
        name=found.name,
        version=int(found.version),
        selector=selector,
        backend="torch" if native else "pyfunc",
        sha256=sha256,
        path=str(final),
        run_id=found.run_id or None,
        model_id=_mlmodel(final).get("model_id"),
        flavors=tuple(sorted(flavors)),
    )


def check_copy(ref: ModelRef) -> None:
    """Raises: ModelError if the pinned copy of a model is gone or was changed."""
    if not Path(ref.path).is_dir() or _tree_digest(Path(ref.path)) != ref.sha256:
        raise ModelError(
            f"{ref.path} is not the copy of model {ref.name} version {ref.version} that was pinned "
            "(missing or changed), so nothing can be scored with it again. Score the partition "
            f"anew with --model-version {ref.version} --force"
        )


_REGISTRATION = {"registered_model_meta"}
"""Files that MLflow adds on download and that say nothing about the model's content."""


def _tree_digest(folder: Path) -> str:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in _REGISTRATION)
    return digest([(p.relative_to(folder).as_posix(), file_digest(p)) for p in files])


def _find(folder: str, name: str) -> Path | None:
    path = Path(folder) / name
    return path if path.is_file() else None


def _mlmodel(folder: Path) -> dict[str, Any]:
    content = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
    return dict(content)


def _runs_code(path: Path) -> bool:
    """Whether loading the file may run code: a pickle by name or by content, or Python."""
    if path.suffix.lower() in (*_PICKLES, ".py"):
        return True
    with open(path, "rb") as file:
        start = file.read(2)
    if len(start) == 2 and start[0] == 0x80 and 2 <= start[1] <= 5:
        return True  # the protocol header of pickle 2 to 5
    if path.suffix == ".pt2" or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("data.pkl") for name in archive.namelist())


def _refuse_pickles(ref: ModelRef) -> None:
    pickles = sorted(
        p.relative_to(ref.path).as_posix()
        for p in Path(ref.path).rglob("*")
        if p.is_file() and _runs_code(p)
    )
    if pickles:
        raise ModelError(
            f"model {ref.name} version {ref.version} holds {', '.join(pickles)}: a pickle (or "
            "a Python file) is code that runs when it is loaded. Export the model instead (torch: "
            "save as pt2 with nocturne.contract.log_torch_model; scikit-learn: "
            "mlflow.sklearn.log_model(..., serialization_format='skops') or ONNX), or, if you "
            "trust whoever registered it, set model.allow_pickle: true",
            model=ref.name,
            files=pickles,
        )


def _encoding_of_signature(ref: ModelRef) -> Encoding:
    """A pyfunc model's columns, types and outputs, from the signature in its MLmodel file."""
    import json

    signature = _mlmodel(Path(ref.path)).get("signature") or {}
    inputs = json.loads(signature.get("inputs") or "[]")
    if not inputs or any("name" not in column for column in inputs):
        raise ModelError(
            f"model {ref.name} version {ref.version} has no signature with named columns, so "
            "nothing says what it takes; log it with signature=mlflow.models.infer_signature("
            "frame, predictions)"
        )
    unknown = sorted({str(c["type"]) for c in inputs} - set(FRAME_TYPES))
    if unknown:
        raise ModelError(
            f"model {ref.name} version {ref.version}: its signature has columns of type "
            f"{', '.join(unknown)}; expected {choices(FRAME_TYPES)}"
        )
    features = tuple(
        Feature(column=c["name"], type=c["type"], required=bool(c.get("required", True)))
        for c in inputs
    )
    outputs = json.loads(signature.get("outputs") or "[]")
    columns = tuple(
        OutputSpec(o.get("name") or f"prediction_{i}", type=_output_type(o))
        for i, o in enumerate(outputs)
    )
    if len(columns) < 2 and not (outputs and outputs[0].get("name")):
        columns = (OutputSpec("prediction", type=columns[0].type if columns else "float64"),)
    return Encoding((TensorSpec("frame", "frame", "frame", features),), columns)


def _output_type(output: Mapping[str, Any]) -> Any:
    name = output.get("type")
    if name == "tensor":
        name = str(output["tensor-spec"]["dtype"])
    known = {"long": "int64", "integer": "int64", "int64": "int64", "int32": "int64",
             "string": "string", "boolean": "bool", "bool": "bool",
             "float": "float32", "float32": "float32"}  # fmt: skip
    return known.get(str(name), "float64")
