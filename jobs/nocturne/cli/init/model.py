"""The registered model for ``nocturne init``, and the check that the data fit it."""

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

__all__ = ["Chosen", "check_data", "choose", "summary", "with_trial"]


FindInputs = Callable[[DeclaredInputs, str], Inputs | None]
"""Returns ``model.inputs`` for the named model; None if its signature names the columns."""


@dataclass(frozen=True)
class Chosen:
    """The selector of a model for the YAML, the reason for it, and what the model takes."""

    name: str
    alias: str | None
    version: int | None
    reason: str
    resolved: registry.Resolved
    pickled: bool
    trial: Trial | None = None

    @property
    def encoding(self) -> Encoding:
        """The encoding; after a trial, with the outputs that the model gave."""
        encoding = self.resolved.encoding
        return (
            encoding
            if self.trial is None
            else replace(encoding, outputs=with_nulls(self.trial.outputs))
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
        store: the folder to which its files are copied.

    Raises:
        ModelError: there is no such model, alias or version, nothing declares what the model
            takes, or it is a pickle.
        ConfigError: the model does not take the columns that the user lists.
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
        models=store,
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
    title = f"model {name} version {resolved.ref.version}"
    if message := warning(resolved.ref.path, title):
        print(f"nocturne: {message}", file=sys.stderr)
    if (declared := resolved.declared_inputs) is not None:
        resolved = registry.Resolved(resolved.ref, find_inputs(declared, title))
    return Chosen(name, alias, version, reason or "as given", resolved, pickled)


def with_trial(chosen: Chosen, night: SampleFiles, state: PipelineState) -> Chosen:
    """The model with the result of its trial on rows of a partition, which is kept in ``state``.

    Raises:
        ModelError: see ``nocturne.pipeline.trial``.
    """
    resolved = chosen.resolved
    request = TrialRequest(
        model=resolved.ref,
        encoding=resolved.declared,
        spec=resolved.has_spec,
        firm=False,
        input_cast=dict(night.cast),
        device="cpu",
        seconds=TRIAL_SECONDS,
    )
    return replace(chosen, trial=kept_or_new(request, night, state))


def summary(chosen: Chosen) -> list[str]:
    """Lines for people: what the model takes and gives, and the scores of three rows."""
    encoding, trial = chosen.encoding, chosen.trial
    inputs = [f"{f.column} ({f.type or t.encoder})" for t, f in encoding.features()]
    lines = [
        f"inputs: {', '.join(dict.fromkeys(inputs))}",
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
            aliases = {"champion": ""}  # resolving it raises an error that lists other models
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
    existing = f"its aliases are {choices(aliases)}" if aliases else "it has no alias"
    return None, max(versions), f"the newest; {existing}. With `alias: ...` promotions are followed"


def check_data(encoding: Encoding, rows: pa.Table, where: Path) -> dict[str, str]:
    """Check that the table has what the model takes.

    Args:
        rows: a sample of the table.

    Returns:
        The ``input.cast`` with which the model takes every column.

    Raises:
        InputError: a column is missing or has a wrong type; the message also lists similar names.
    """
    schema, cast = rows.schema, _proposed_cast(encoding, rows)
    problems = check_columns(encoding, schema, cast)
    if not problems:
        return cast
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


def _proposed_cast(encoding: Encoding, rows: pa.Table) -> dict[str, str]:
    """The casts that lose no value of these rows and give values that the model knows."""
    proposed = remedies(encoding, rows.schema)
    targets = casts(encoding, rows.schema, proposed)
    vocabularies = {f.column: f.vocabulary for _, f in encoding.features() if f.vocabulary}
    return {
        name: target
        for name, target in proposed.items()
        if _keeps_values(rows.select([name]), targets[name], vocabularies.get(name, ()))
    }


def _keeps_values(column: pa.Table, cast: Cast, vocabulary: Sequence[str | int]) -> bool:
    from nocturne.engine import cast_rows

    [batch] = column.combine_chunks().to_batches()
    converted, reasons = cast_rows(batch, {column.column_names[0]: cast})
    known = pc.is_in(converted.column(0), pa.array(vocabulary)) if vocabulary else pa.array([True])
    return bool(reasons.null_count == len(reasons) and pc.any(known).as_py())
