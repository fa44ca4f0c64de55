"""Makes the text of a pipeline YAML, with comments on settings that people often change."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from nocturne.cli.init.keys import is_key
from nocturne.cli.init.model import Chosen
from nocturne.cli.init.sample import Sample
from nocturne.cli.init.table import Table

__all__ = ["pipeline_text"]

_BARE = re.compile(r"[A-Za-z_][\w./-]*")


def pipeline_text(
    name: str,
    *,
    chosen: Chosen,
    input_path: str,
    output_path: str,
    table: Table,
    sample: Sample,
    cast: Mapping[str, str],
    keys: Sequence[str],
    guessed: bool,
    success_file: bool,
) -> str:
    """conf/pipelines/<name>.yaml."""
    selector = f"alias: {_scalar(chosen.alias)}" if chosen.alias else f"version: {chosen.version}"
    lines = [
        "# yaml-language-server: $schema=../schema/pipeline.json",
        "# Written by `nocturne init`; `nocturne config show` lists every setting there is.",
        f"name: {_scalar(name)}",
        f"description: {_scalar(f'Nightly scores of {chosen.name}.')}",
        "model:",
        f"  name: {_scalar(chosen.name)}",
        f"  {selector}  # {_comment(chosen.reason)}",
        *_pickle(chosen),
        *_inputs(chosen),
        *_outputs(chosen),
        "input:",
        f"  path: {_scalar(input_path)}",
        *_partition(table),
        *_ready(success_file),
        *_cast(sample, cast),
        "output:",
        f"  path: {_scalar(output_path)}",
        *_keys(sample, keys, guessed),
        f"  keys: {_flow(keys)}",
        f"  passthrough: []  # input columns to copy, e.g. {_others(sample, keys)}",
        "quality:",
        f"  input_suite: {name}_input.yaml  # in conf/expectations/",
        f"  output_suite: {name}_output.yaml",
        "  on_failure: hold  # or: warn, fail",
        f"  unique_keys: {str(is_key(sample, keys)).lower()}  # hold a night with duplicate keys",
        *_schedule(table),
        "# alerts:  # whom Airflow tells of a night that is held, has failed, is late or drifts",
        "#   - {to: email, connection: smtp_default, recipients: [you@example.com]}",
    ]
    return "\n".join(lines) + "\n"


def _pickle(chosen: Chosen) -> list[str]:
    return ["  allow_pickle: true  # loading this model runs code"] if chosen.pickled else []


def _inputs(chosen: Chosen) -> list[str]:
    """``model.inputs``, with a comment: nothing compares the names with the training data."""
    if chosen.resolved.inputs is None:
        return []
    if not isinstance(chosen.resolved.inputs, Mapping):
        flow = _flow(chosen.resolved.inputs)
    else:
        parts = (
            f"{_scalar(name)}: {_scalar(columns) if isinstance(columns, str) else _flow(columns)}"
            for name, columns in chosen.resolved.inputs.items()
        )
        flow = "{" + ", ".join(parts) + "}"
    return [f"  inputs: {flow}  # in the order of the training data: compare"]


def _outputs(chosen: Chosen) -> list[str]:
    """The outputs that the model gave in its trial, if it does not declare them itself."""
    outputs = chosen.encoding.outputs
    if [(o.name, o.words) for o in outputs] == [
        (o.name, o.words) for o in chosen.resolved.encoding.outputs
    ]:
        return []
    flow = ", ".join(f"{_scalar(o.name)}: {_scalar(o.words)}" for o in outputs)
    return [f"  outputs: {{{flow}}}  # as it gave them; its signature says otherwise, or nothing"]


def _partition(table: Table) -> list[str]:
    if not table.key_formats:
        return ["  partition: {}  # one table, scored whole each time"]
    flow = ", ".join(
        f"{_scalar(key)}: {json.dumps(value)}" for key, value in table.key_formats.items()
    )
    lines = [f"  partition: {{{flow}}}"]
    for key, others in table.others.items():
        if others:
            also = _comment(", ".join(others[:5]))
            lines.append(f"  # {key} is fixed: a pipeline scores one value of it; also: {also}")
    return lines


def _ready(success_file: bool) -> list[str]:
    if success_file:
        return ["  ready: {success_file: true}  # the writer's _SUCCESS says that it is complete"]
    return [
        "  ready: {min_rows: 1}  # when a partition is complete: min_rows, min_age_minutes,",
        "                        # or success_file: true if its writer leaves a _SUCCESS",
    ]


def _cast(sample: Sample, cast: Mapping[str, str]) -> list[str]:
    """``input.cast``, with a comment that names the types in the table."""
    if not cast:
        return []
    types = ", ".join(f"{name} as {sample.schema.field(name).type}" for name in cast)
    flow = ", ".join(f"{_scalar(name)}: {how}" for name, how in cast.items())
    return [
        f"  # What the model sees; the table has {_comment(types)}. A row with a value that the",
        "  # cast would change is quarantined.",
        f"  cast: {{{flow}}}",
    ]


def _keys(sample: Sample, keys: Sequence[str], guessed: bool) -> list[str]:
    """A comment that says how the keys were found."""
    if guessed:
        return [f"  # The keys were guessed: no nulls, unique in {sample.words}"]
    verb = "are" if is_key(sample, keys) else "are not"
    return [f"  # The keys {verb} without nulls and unique in {sample.words}"]


def _others(sample: Sample, keys: Sequence[str]) -> str:
    return _comment(_flow([c for c in sample.schema.names if c not in keys][:2]))


def _schedule(table: Table) -> list[str]:
    lines = ["schedule:", "  timezone: UTC  # in which a day starts and ends"]
    if table.key_formats:
        lines.append(
            f"  start_date: {table.partitions[0].key[:10]}  # the first partition there is"
        )
    return lines


def _flow(values: Sequence[str]) -> str:
    return "[" + ", ".join(_scalar(value) for value in values) + "]"


def _scalar(value: Any) -> str:
    """A YAML scalar: unquoted if it then reads back as the same text, else quoted."""
    text = str(value)
    if _BARE.fullmatch(text) and yaml.safe_load(text) == text:
        return text
    return json.dumps(text, ensure_ascii=False)


def _comment(text: str) -> str:
    return " ".join(text.split())
