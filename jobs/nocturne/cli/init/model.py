"""The registered model that ``nocturne init`` is given, and whether the data fit it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from nocturne.cli.init.uri import parse
from nocturne.encoding import Encoding, with_nulls
from nocturne.errors import InputError, ModelError, choices, did_you_mean
from nocturne.fitting import casts, check_columns, remedies
from nocturne.fitting.roles import Cast
from nocturne.model import registry
from nocturne.model.declared_inputs import DeclaredInputs, Inputs
from nocturne.model.requirements import warning
from nocturne.model.tracking import connect, reachable
from nocturne.pipeline.trial import TRIAL_SECONDS, kept_or_new
from nocturne.source.sample import SampleFiles
from nocturne.store.pipeline_state import PipelineState
from nocturne.trial import Trial, TrialRequest

__all__ = ["Chosen", "check_data", "choose", "seen", "tried"]


FindInputs = Callable[[DeclaredInputs, str], Inputs | None]
"""What fills a model of that name, ``model.inputs``; None if its signature names the columns."""


@dataclass(frozen=True)
class Chosen:
    """A model's selector for the YAML, why it is that one, and what the model takes."""

    name: str
    alias: str | None
    version: int | None
    reason: str
    resolved: registry.Resolved
    pickled: bool
    trial: Trial | None = None

    @property
    def encoding(self) -> Encoding:
        """With the outputs that it was seen to give, once it was tried."""
        found = self.resolved.encoding
        return (
            found if self.trial is None else replace(found, outputs=with_nulls(self.trial.outputs))
        )


def choose(
    model: str,
    store: Path,
    tracking_uri: str,
    registry_uri: str | None = None,
    *,
    allow_pickle: bool,
    find_inputs: FindInputs = lambda *_: None,
) -> Chosen:
    """The model behind NAME, NAME@ALIAS, NAME/VERSION, or a URI of MLflow.

    NAME alone means its alias champion, else its only alias, else its newest version.

    Args:
        store: where its files are copied to.

    Raises:
        ModelError: there is no such model, alias or version, nothing says what the model
            takes, or it is a pickle.
        ConfigError: what the user says that it takes is not what it takes.
        RegistryUnavailable: the server did not answer.
    """
    (name, alias, version), reason = parse(model, tracking_uri, registry_uri)
    if reason:
        print(f"nocturne: {name} version {version} is {reason}", file=sys.stderr)
    if alias is None and version is None:
        alias, version, reason = _default(name, tracking_uri, registry_uri)
    resolve = partial(
        registry.resolve,
        name=name,
        alias=alias,
        tags=None,
        version=version,
        tracking_uri=tracking_uri,
        registry_uri=registry_uri,
        store=store,
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
    what = f"model {name} version {resolved.ref.version}"
    if said := warning(resolved.ref.path, what):
        print(f"nocturne: {said}", file=sys.stderr)
    if (takes := resolved.declared_inputs) is not None:
        resolved = registry.Resolved(resolved.ref, find_inputs(takes, what))
    return Chosen(name, alias, version, reason or "as given", resolved, pickled)


def tried(chosen: Chosen, night: SampleFiles, state: PipelineState) -> Chosen:
    """With what the model gave for some rows of a partition; kept in ``state``.

    Raises:
        ModelError: see ``nocturne.pipeline.trial``.
    """
    resolved = chosen.resolved
    asked = TrialRequest(
        model=resolved.ref,
        encoding=resolved.declared,
        spec=resolved.has_spec,
        firm=False,
        input_cast=dict(night.cast),
        device="cpu",
        seconds=TRIAL_SECONDS,
    )
    return replace(chosen, trial=kept_or_new(asked, night, state))


def seen(chosen: Chosen) -> list[str]:
    """For people: what the model takes, what it gives, and the scores of three rows."""
    encoding, trial = chosen.encoding, chosen.trial
    taken = [f"{f.column} ({f.type or t.encoder})" for t, f in encoding.features()]
    lines = [
        f"inputs: {', '.join(dict.fromkeys(taken))}",
        f"outputs: {', '.join(f'{o.name} ({o.words})' for o in encoding.outputs)}",
    ]
    for scores in trial.scores if trial else ():
        lines.append("scored a row: " + ", ".join(f"{n}={value}" for n, value in scores.items()))
    if trial and trial.raised:
        lines.append(
            f"the model raised on {trial.raised} of {trial.rows} rows, which a night would "
            f"quarantine: {trial.cause}"
        )
    return lines


def _default(
    name: str, tracking_uri: str, registry_uri: str | None
) -> tuple[str | None, int | None, str]:
    from mlflow.exceptions import MlflowException

    client = connect(tracking_uri, registry_uri)
    with reachable(registry_uri or tracking_uri):
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
        versions = [int(v.version) for v in registry.versions_of(client, name)]
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
        plain = f"column {feature.column!r} is missing"
        near = did_you_mean(feature.column, schema.names)
        problems = [f"{p}{near}" if p == plain else p for p in problems]
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
    known = {f.column: f.vocabulary for _, f in encoding.features() if f.vocabulary}
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
