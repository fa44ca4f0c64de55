"""Each family of models through ``init``, ``score`` and ``verify --replay``, as its users do.

Only ``make e2e`` runs them, with the packages of the extra ``strangers``.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from nocturne.cli import app
from pipeline.conftest import _spark, spark  # noqa: F401 - fixtures
from strangers.conftest import DAY, ROOT, Project
from strangers.families import FAMILIES, ROWS, Family


def nocturne(*arguments: str) -> str:
    """What a command writes on standard output."""
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    return done.stdout


@pytest.mark.long
@pytest.mark.usefixtures("_spark", "_cold_trials")
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_stranger_is_scored_as_it_scores_itself(
    family: Family,
    strangers: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if missing := [name for name in family.packages if importlib.util.find_spec(name) is None]:
        pytest.skip(f"{', '.join(missing)} is not installed: `make e2e` installs it")
    (tmp_path / "made").mkdir()
    stranger = family.make(tmp_path / "made")
    with monkeypatch.context() as training:
        training.syspath_prepend(tmp_path / "made")
        strangers.register(stranger.log, family.name, *stranger.model, **stranger.options)
    folder = strangers.root / "tables" / f"ds={DAY}"
    folder.mkdir(parents=True)
    table = pa.Table.from_pandas(stranger.night, preserve_index=False)
    pq.write_table(table.add_column(0, "id", pa.array(range(ROWS))), folder / "p.parquet")

    asked = ["--model", family.name, "--input", "tables", "--key", "id"]
    asked += [part for name in family.features for part in ("--feature", name)]
    asked += ["--allow-pickle"] if family.pickled else []
    nocturne("init", family.name, *asked)
    _add_params(strangers.root / "conf" / "pipelines" / f"{family.name}.yaml", family)
    nocturne("score", family.name, "--date", DAY)
    verified = nocturne("verify", family.name, "--date", DAY, "--replay", "--json")

    [found] = json.loads(verified.splitlines()[-1])
    assert {one["outcome"] for one in found["replayed"]} == {"bit-equal"}
    scores = pq.read_table(Path(found["output"])).sort_by("id")
    assert scores["id"].to_pylist() == list(range(ROWS))
    assert set(scores.column_names) == {"id", "model_version", *stranger.expected}
    for name, expected in stranger.expected.items():
        _check(scores[name].to_pylist(), np.asarray(expected), family.exact)


def _add_params(path: Path, family: Family) -> None:
    if family.params:
        written = yaml.safe_load(path.read_text())
        written["model"]["params"] = dict(family.params)
        path.write_text(yaml.safe_dump(written, sort_keys=False))


def _check(found: list[Any], expected: Any, exact: bool) -> None:
    if exact or expected.dtype.kind not in "f":
        assert found == expected.tolist()
    else:
        np.testing.assert_allclose(np.array(found), expected, rtol=1e-5, atol=1e-7)


def test_the_docs_have_a_line_for_each() -> None:
    lines = (ROOT / "docs" / "models.md").read_text(encoding="utf-8").splitlines()
    start, end = lines.index("<!-- families: start -->"), lines.index("<!-- families: end -->")
    assert lines[start + 3 : end] == [one.line for one in FAMILIES]
