"""Writes the three files of a new pipeline, or none if one of them is invalid."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from nocturne import config, quality
from nocturne.cli.init.inputs import find_inputs
from nocturne.cli.init.keys import find_keys
from nocturne.cli.init.model import check_data, choose, summary, with_trial
from nocturne.cli.init.pipeline import pipeline_text
from nocturne.cli.init.sample import Sample, path_columns_of, take
from nocturne.cli.init.suites import input_suite, output_suite
from nocturne.cli.init.table import inspect
from nocturne.config.local_paths import check_local
from nocturne.config.models import NAME
from nocturne.errors import ConfigError, choices, did_you_mean
from nocturne.model.declared_inputs import DeclaredInputs, Inputs
from nocturne.pipeline.places import Places
from nocturne.source.sample import SampleFiles
from nocturne.store.files import write_atomic
from nocturne.store.pipeline_state import PipelineState

__all__ = ["init"]


def init(
    name: str,
    *,
    model: str,
    input_path: str,
    output_path: str | None,
    keys: list[str] | None,
    root: Path,
    tracking_uri: str,
    registry_uri: str | None = None,
    force: bool = False,
    allow_pickle: bool = False,
    features: Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
    trials: Path | None = None,
) -> list[Path]:
    """Write conf/pipelines/<name>.yaml and its two suites from the model and the data.

    Args:
        model: registered model: NAME, NAME@ALIAS, NAME/VERSION, or a URI of MLflow.
        input_path: folder of the Parquet table; relative to ``root``.
        output_path: folder of the scores; default var/scores/<name>.
        keys: columns that identify a row; None guesses them.
        force: replace existing files.
        features: columns that the model takes, in order, if its signature names none.
        say: called with lines on what the model takes and gives.
        trials: the folder that keeps the results of trials; None: the model is tried each time.

    Returns:
        The files, the pipeline first.

    Raises:
        ConfigError: the name, a key, a feature or a path is wrong, or a file exists already.
        ModelError, RegistryUnavailable: the model can't be loaded from the registry.
        InputError: the data can't be read, or do not fit the model.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"name: got {name!r}, expected a letter, then up to 63 letters, digits and '_' (it "
            "becomes a file, a DAG and a folder)",
            name=name,
        )
    check_local("input", input_path)
    check_local("output", output_path or "")
    suites = root / "conf" / "expectations"
    paths = [
        root / "conf" / "pipelines" / f"{name}.yaml",
        suites / f"{name}_input.yaml",
        suites / f"{name}_output.yaml",
    ]
    existing = [str(p) for p in paths if p.exists()]
    if existing and not force:
        raise ConfigError(
            f"{choices(existing)} exist already; nothing was written. Give --force to replace "
            "them, or choose another name",
            paths=existing,
        )
    folder = (root / Path(input_path).expanduser()).resolve()
    table = inspect(folder)
    sample = take(table)
    user_keys = _check_keys(keys, sample) if keys else None

    def inputs(declared: DeclaredInputs, model_title: str) -> Inputs | None:
        guessed = not declared.columns and not features
        keys = user_keys or (find_keys(table, sample, ()) if guessed else ())
        excluded = {*keys, *table.key_formats}
        return find_inputs(declared, sample.rows, features, excluded, model_title)

    with tempfile.TemporaryDirectory(prefix="nocturne-init-") as store:
        chosen = choose(
            model,
            Path(store),
            tracking_uri,
            registry_uri,
            allow_pickle=allow_pickle,
            find_inputs=inputs,
        )
        if features and chosen.resolved.inputs is None:
            raise ConfigError(
                f"feature: the model {chosen.name} names its columns itself; leave it out"
            )
        input_cast = check_data(chosen.encoding, sample.rows, folder)
        newest = table.partitions[-1]
        from_paths = path_columns_of(table, newest)
        files = SampleFiles(table.files(newest), cast=input_cast, path_columns=from_paths)
        chosen = with_trial(chosen, files, PipelineState(trials or Path(store)))
    for line in summary(chosen):
        say(line)
    added = [*(output.name for output in chosen.encoding.outputs), "model_version"]
    key_columns = user_keys or find_keys(table, sample, added)
    texts = [
        pipeline_text(
            name,
            chosen=chosen,
            input_path=_relative(folder, root),
            output_path=output_path or f"var/scores/{name}",
            table=table,
            sample=sample,
            cast=input_cast,
            keys=key_columns,
            guessed=not keys,
            success_file=(folder / table.partitions[-1].path / "_SUCCESS").exists(),
        ),
        input_suite(name, sample, chosen.encoding, key_columns),
        output_suite(name, sample, chosen.encoding, key_columns),
    ]
    columns = (sample.schema.names, [*key_columns, *added])
    _write(dict(zip(paths, texts, strict=True)), name, root, columns)
    return paths


def _check_keys(keys: Sequence[str], sample: Sample) -> list[str]:
    for key in keys:
        if key not in sample.schema.names:
            raise ConfigError(
                f"key: got {key!r}{did_you_mean(key, sample.schema.names)}, which is no column of "
                f"the table. It has {choices(sample.schema.names, 40)}",
                key=key,
            )
    return list(dict.fromkeys(keys))


def _relative(folder: Path, root: Path) -> str:
    """The path relative to the project if it is inside, so that the project can be moved."""
    home = root.resolve()
    return folder.relative_to(home).as_posix() if home in folder.parents else str(folder)


def _write(
    files: dict[Path, str], name: str, root: Path, columns: tuple[Sequence[str], Sequence[str]]
) -> None:
    """Write the files and load them as a night would; undo everything if that fails."""
    before = {path: path.read_bytes() if path.exists() else None for path in files}
    try:
        for path, text in reversed(files.items()):  # the pipeline last: it names the suites
            write_atomic(path, text.encode())
        Places.of(config.load(name, root=root))
        for path, names in zip(list(files)[1:], columns, strict=True):
            quality.check_columns(path, names)
    except BaseException:
        for path, content in before.items():
            if content is None:
                path.unlink(missing_ok=True)
            else:
                write_atomic(path, content)
        raise
