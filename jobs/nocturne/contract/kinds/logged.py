"""A model that is in MLflow already: a logged model, by ``models:/m-...`` or ``runs:/RUN/NAME``."""

from __future__ import annotations

import re
from pathlib import Path

import mlflow
import pyarrow as pa

from nocturne.contract.added import fetch_logged, require_unregistered
from nocturne.contract.encodings import tensors
from nocturne.contract.handed_in import HandedIn
from nocturne.contract.kinds.shapes import check_shapes
from nocturne.encoding import ENCODING_FILE, Encoding
from nocturne.engine import Model
from nocturne.errors import ModelError, NocturneError, choices
from nocturne.model.artifact import require_plain_files
from nocturne.model.logged import logged_by
from nocturne.model.registry import backend_of
from nocturne.model.requirements import load_error
from nocturne.model.signature import signature_in
from nocturne.worker.scoring import BACKENDS

__all__ = ["is_uri", "of_logged"]

_LOGGED = re.compile(r"models:/(?P<id>m-[0-9a-f]{32})")
_RUN = re.compile(r"runs:/(?P<run>[^/]+)/(?P<name>[^/]+)/?")


def is_uri(source: str) -> bool:
    """Whether a model is named by a URI of MLflow."""
    return source.startswith(("models:", "runs:"))


def of_logged(uri: str, scratch: Path, allow_pickle: bool = False) -> HandedIn:
    """The model of an MLflow run, or a logged model, of any flavor.

    Args:
        scratch: an empty folder for its files.
        allow_pickle: it may be code.

    Raises:
        ModelError: there is no such model, it is registered already, can't be scored, or is code.
    """
    model_id = _id_of(uri)
    require_unregistered(model_id)
    what = f"the model {uri}"
    folder = fetch_logged(model_id, scratch)
    require_plain_files(folder, what)
    backend = backend_of(folder, what, allow_pickle)
    signature = signature_in(folder, what)
    spec = folder / ENCODING_FILE
    own = None
    if spec.is_file():
        own = Encoding.from_json(spec.read_bytes(), f"{ENCODING_FILE} of {uri}")
    elif signature.inputs.columns:
        own = signature.encoding(None, {})

    def load(encoding: Encoding) -> Model:
        try:
            return BACKENDS[backend](str(folder), encoding)
        except NocturneError:
            raise
        except Exception as error:
            raise load_error(folder, error) from error

    def check(encoding: Encoding, data: pa.Table) -> None:
        slots = signature.inputs.slots
        if own is None and signature.inputs.tensors and len(slots) == len(encoding.inputs):
            names = [tensor.name for tensor in encoding.inputs]
            example = [tensor.numpy() for tensor in tensors(data.slice(0, 2), encoding)]
            check_shapes(what, slots, names, example)

    declared = signature.declared_outputs
    return HandedIn(
        what, signature.inputs, load, lambda *_: None, check, declared, own, logged=model_id
    )


def _id_of(uri: str) -> str:
    """The id of the logged model that is meant.

    Raises:
        ModelError: none is, or several are.
    """
    if logged := _LOGGED.fullmatch(uri):
        return logged["id"]
    run = _RUN.fullmatch(uri)
    if run is None:
        raise ModelError(
            f"got {uri!r}, expected a model that a run has logged: runs:/RUN/NAME, or models:/m- "
            "with the 32 digits of its id. A version that is registered has another way: "
            "`nocturne promote`, `nocturne digest`"
        )
    found = logged_by(mlflow.MlflowClient(), run["run"], run["name"])
    if not found:
        raise ModelError(
            f"{uri} is no logged model: there is no such run, it has logged none of that name, or "
            "it was logged before MLflow 3, which keeps it in the run: log it again"
        )
    if len(found) > 1:
        raise ModelError(
            f"the run has logged {len(found)} models of the name {run['name']}; name one of them: "
            f"{choices(f'models:/{model}' for model in found)}"
        )
    return found[0]
