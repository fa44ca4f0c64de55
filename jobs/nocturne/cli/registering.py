"""``nocturne register``: a version of a registered model from a file or from MLflow, with all that
a night needs, once it has been compared with what was handed in.
"""

from __future__ import annotations

import re
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from nocturne.cli.base import AsJson, By, answer, clean_errors, login, say
from nocturne.errors import ConfigError

if TYPE_CHECKING:
    from nocturne.contract.handed_in import HandedIn, LoggedModel
    from nocturne.contract.samples import Sample
    from nocturne.encoding import Encoding

__all__ = ["app"]

app = typer.Typer()

Columns = Optional[list[str]]
MODEL_NAME = re.compile(r"[^/:.\s][^/:]*")
"""As ``model.name`` of a pipeline."""


@app.command()
@clean_errors
def register(
    source: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A file (pt2, TorchScript, ONNX, a pickled torch module), or a logged model of "
            "MLflow: runs:/RUN/NAME, models:/m-...",
        ),
    ],
    name: Annotated[str, typer.Option(help="Of the registered model.")],
    data: Annotated[Path, typer.Option(help="Training data: a Parquet file or folder.")],
    alias: Annotated[Optional[str], typer.Option(help="Is moved to the new version.")] = None,
    by: By = None,
    why: Annotated[str, typer.Option(help="Kept in the alias's history.")] = "",
    encoding: Annotated[
        Optional[Path], typer.Option(help="An encoding spec, JSON or YAML; or say the columns:")
    ] = None,
    feature: Annotated[
        Columns, typer.Option(help="Column given as it is; repeated, in order.")
    ] = None,
    numeric: Annotated[
        Columns, typer.Option(help="Column filled and standardised by the data; repeated.")
    ] = None,
    category: Annotated[
        Columns, typer.Option(help="Column as the code of its word; repeated.")
    ] = None,
    date: Annotated[
        Columns, typer.Option(metavar="COLUMN=PART,...", help="Parts of a date; repeated.")
    ] = None,
    output: Annotated[
        Columns, typer.Option(help="NAME or NAME=sigmoid; repeated, in order.")
    ] = None,
    sign: Annotated[
        bool, typer.Option("--sign", help="Sign it with the key in NOCTURNE_MODEL_SIGNING_KEY.")
    ] = False,
    partition: Annotated[
        Optional[str], typer.Option(help="Column with the partition; default: its folder.")
    ] = None,
    experiment: Annotated[
        Optional[str], typer.Option(help="In which it is logged; default: the model's name.")
    ] = None,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Load code; only if you trust its author.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Register a model with its encoding, the baseline of its training data and its digest.

    It is logged in MLflow, loaded as a night loads it, and scores the data: if it does not give
    what the model that was handed in gives, nothing is registered.
    """
    from nocturne.model import aliases
    from nocturne.model.signatures import check_signable, sign_version
    from nocturne.operate.aliases import registry
    from nocturne.signing import check_key, key_of_models

    key = key_of_models() if sign else None
    if key is not None:
        check_key(key)
    if not MODEL_NAME.fullmatch(name):
        raise ConfigError(f"name: got {name!r}, expected one without / and :, which has no . first")
    if alias is not None:
        aliases.check_alias(alias)
    elif why or by:
        raise ConfigError("--why and --by are about an alias: give --alias too")
    learnt = {"numeric": numeric or [], "categories": category or [], "dates": _dates(date or [])}
    with registry() as client, tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the answer says that it is code
        from nocturne.contract.handed_in import log_handed_in, settled
        from nocturne.contract.kinds import open_model
        from nocturne.contract.samples import read_sample
        from nocturne.contract.versions import alias_before, move_alias, still_to_do

        over = alias_before(name, alias)
        handed = open_model(source, Path(scratch), allow_pickle=allow_pickle)
        sample = read_sample(data.expanduser(), partition)
        spec = settled(
            handed, _encoding(handed, sample, encoding, feature or [], learnt, output), sample.rows
        )
        for line in _summary(handed, spec):
            say(line)
        _use_experiment(client, experiment or name)
        logged = log_handed_in(
            handed,
            spec,
            sample.rows,
            name=name,
            allow_pickle=allow_pickle,
            partitions=sample.partitions,
            registered_model_name=name,
            check=lambda folder: check_signable(folder, key) if key is not None else None,
        )
        say(
            f"registered {name} version {logged.version}: on {sample.rows.num_rows} rows it "
            f"differs from what was handed in by {logged.difference:.3g} at most"
        )
        if logged.code:
            say(f"its pipeline needs model.allow_pickle: true, since it is code: {logged.code}")
        assert logged.version is not None
        if key is not None:
            promote = f", then nocturne promote {name} {logged.version} --alias {alias}"
            with still_to_do(
                f"{name} version {logged.version} is registered, but it is not signed, and no "
                "alias was moved",
                f"To sign it: nocturne sign {name} {logged.version}{promote if alias else ''}",
            ):
                sign_version(client, name, logged.version, key)
            say(f"signed {name} version {logged.version}")
        change = None
        if alias is not None:
            change = move_alias(name, alias, logged.version, over, by or login(), why)
            before = change.before or "nowhere"
            say(f"{name}@{alias}: version {change.after}, which was {before} before")
    answer({**_said(logged, handed, sample), "alias": change}, as_json)


def _encoding(
    handed: HandedIn,
    sample: Sample,
    file: Path | None,
    features: list[str],
    learnt: dict[str, Any],
    output: list[str] | None,
) -> Encoding:
    """Which columns become which inputs; the outputs may be open.

    Raises:
        ConfigError: the options contradict one another, or name what is not there.
        InputError, ModelError: the data have no such columns, or nothing says which are meant.
    """
    from nocturne.cli.init.inputs import find_inputs
    from nocturne.contract import infer_encoding
    from nocturne.contract.specs import fitted, output_named, read_encoding
    from nocturne.encoding import Encoding
    from nocturne.model.declared_inputs import tensors

    ways = [file is not None, bool(features), any(learnt.values())]
    if handed.own is not None:
        if any(ways) or output:
            raise ConfigError(
                f"{handed.kind} says its columns and outputs itself: leave out --encoding, "
                "--feature, --numeric, --category, --date and --output"
            )
        return handed.own
    if sum(ways) > 1 or (file is not None and output):
        raise ConfigError(
            "give one of: --encoding FILE, which has the outputs too; --feature; --numeric, "
            "--category and --date"
        )
    if file is not None:
        return read_encoding(file)
    takes, rows = handed.takes, sample.rows
    outputs = tuple(map(output_named, output or ())) or handed.outputs
    if any(learnt.values()):
        inferred = infer_encoding(rows, **learnt, outputs=outputs)
        return replace(inferred, inputs=fitted(inferred.inputs, takes.slots))
    inputs = find_inputs(takes, rows, features, sample.folders, handed.kind)
    return Encoding(tensors(takes, inputs, handed.kind), outputs)


def _dates(options: list[str]) -> dict[str, list[str]]:
    dates = {}
    for option in options:
        column, _, parts = option.partition("=")
        if not column or not parts:
            raise ConfigError(f"date: got {option!r}, expected COLUMN=PART,PART such as day=month")
        dates[column] = parts.split(",")
    return dates


def _use_experiment(client: Any, name: str) -> None:
    import mlflow

    from nocturne.model.tracking import experiment_id

    mlflow.set_experiment(experiment_id=experiment_id(client, name))


def _summary(handed: HandedIn, encoding: Encoding) -> list[str]:
    """Lines for people: how the columns reach the model, and what it gives."""
    lines = [handed.kind]
    for tensor in encoding.inputs:
        columns = ", ".join(feature.column for feature in tensor.features)
        lines.append(
            f"  {tensor.name or 'its input'} ({tensor.dtype}, {tensor.encoder}): {columns}"
        )
    outputs = ", ".join(f"{output.name} ({output.words})" for output in encoding.outputs)
    return [*lines, f"  gives {outputs}"]


def _said(logged: LoggedModel, handed: HandedIn, sample: Sample) -> dict[str, Any]:
    return {
        "model": logged.name,
        "version": logged.version,
        "model_id": logged.model_id,
        "sha256": logged.sha256,
        "from": handed.kind,
        "rows": sample.rows.num_rows,
        "difference": logged.difference,
        "code": logged.code,
        "columns": list(logged.encoding.columns),
        "outputs": {output.name: output.words for output in logged.encoding.outputs},
        "partitions": sorted(set(sample.partitions or ())),
    }
