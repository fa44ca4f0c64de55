"""The registered model that ``nocturne init`` is given, and whether the data fit it."""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from nocturne import registry
from nocturne.encoding import Encoding
from nocturne.errors import InputError, ModelError, choices
from nocturne.fitting import casts, check_columns, remedies
from nocturne.roles import Cast
from nocturne.tracking import connect, reachable

__all__ = ["Chosen", "check_data", "choose"]


@dataclass(frozen=True)
class Chosen:
    """A model's selector for the YAML, why it is that one, and what the model takes."""

    name: str
    alias: str | None
    version: int | None
    reason: str
    encoding: Encoding
    pickled: bool


def choose(model: str, tracking_uri: str, *, allow_pickle: bool) -> Chosen:
    """The model behind NAME, NAME@ALIAS or NAME/VERSION.

    NAME alone means its alias champion, else its only alias, else its newest version.

    Raises:
        ModelError: there is no such model, alias or version, nothing says what the model
            takes, or it is a pickle.
        RegistryUnavailable: the server did not answer.
    """
    name, alias, version = _parse(model)
    reason = "as given"
    if alias is None and version is None:
        alias, version, reason = _default(name, tracking_uri)
    with tempfile.TemporaryDirectory(prefix="nocturne-init-") as folder:
        resolve = partial(
            registry.resolve,
            name=name,
            alias=alias,
            tags=None,
            version=version,
            tracking_uri=tracking_uri,
            store=Path(folder),
        )
        pickled = False
        try:
            resolved = resolve(allow_pickle=False)
        except ModelError as error:
            pickled = "files" in error.values
            if not pickled:
                raise
            if not allow_pickle:
                raise ModelError(
                    f"{error} (`nocturne init --allow-pickle` writes that line)", **error.values
                ) from None
            resolved = resolve(allow_pickle=True)
        return Chosen(name, alias, version, reason, resolved.encoding, pickled)


def _parse(model: str) -> tuple[str, str | None, int | None]:
    if "@" in model:
        name, _, alias = model.rpartition("@")
        version = None
    else:
        name, _, text = model.partition("/")
        alias, version = None, int(text) if text.isdecimal() else 0
        if "/" not in model:
            version = None
    if not name or alias == "" or version == 0:
        raise ModelError(
            f"model: got {model!r}, expected NAME, NAME@ALIAS or NAME/VERSION, e.g. "
            "flight_delay@champion or flight_delay/3",
            model=model,
        )
    return name, alias, version


def _default(name: str, tracking_uri: str) -> tuple[str | None, int | None, str]:
    from mlflow.exceptions import MlflowException

    client = connect(tracking_uri)
    with reachable(tracking_uri):
        try:
            aliases = client.get_registered_model(name).aliases
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            aliases = {"champion": ""}  # resolving it says what the registry has instead
        if "champion" in aliases:
            return "champion", None, "a new version takes over when the alias moves"
        if len(aliases) == 1:
            return next(iter(aliases)), None, "its only alias; moving it changes the model"
        quoted = name.replace("'", "''")
        versions = [int(v.version) for v in client.search_model_versions(f"name = '{quoted}'")]
    if not versions:
        raise ModelError(
            f"model {name!r} is registered but has no version yet; register one with "
            "mlflow.register_model",
            name=name,
        )
    had = f"its aliases are {choices(aliases)}" if aliases else "it has no alias"
    return None, max(versions), f"the newest; {had}. With `alias: ...` promotions are followed"


def check_data(encoding: Encoding, rows: pa.Table, where: Path) -> dict[str, str]:
    """Check that the table has what the model takes.

    Args:
        rows: of the table.

    Returns:
        What ``input.cast`` has to say so that the model takes every column.

    Raises:
        InputError: names each column that is missing or of a wrong type, and near matches.
    """
    schema, told = rows.schema, _told(encoding, rows)
    problems = check_columns(encoding, schema, told)
    if not problems:
        return told
    for feature in (f for _, f in encoding.features() if f.column not in schema.names):
        near = difflib.get_close_matches(feature.column, schema.names, 1)
        if near:
            plain = f"column {feature.column!r} is missing"
            problems = [f"{p}; did you mean {near[0]!r}?" if p == plain else p for p in problems]
    shown = "\n  ".join(problems)
    missing = any("is missing" in problem for problem in problems)
    raise InputError(
        f"the data in {where} do not fit the model:\n  {shown}\nThe table has "
        f"{choices(schema.names, 40)}. Point --input at the table that the model was trained on"
        + (", or rename its columns" if missing else ""),
        path=str(where),
    )


def _told(encoding: Encoding, rows: pa.Table) -> dict[str, str]:
    """The casts that lose no value of these rows, and make words that the model knows."""
    told = remedies(encoding, rows.schema)
    wanted = casts(encoding, rows.schema, told)
    known = {f.column: f.vocabulary for t, f in encoding.features() if t.encoder == "category"}
    return {
        name: how
        for name, how in told.items()
        if _sound(rows.select([name]), wanted[name], known.get(name, ()))
    }


def _sound(column: pa.Table, cast: Cast, vocabulary: Sequence[str | int]) -> bool:
    from nocturne.engine import cast_rows

    [batch] = column.combine_chunks().to_batches()
    seen, why = cast_rows(batch, {column.column_names[0]: cast})
    known = pc.is_in(seen.column(0), pa.array(vocabulary)) if vocabulary else pa.array([True])
    return bool(why.null_count == len(why) and pc.any(known).as_py())
