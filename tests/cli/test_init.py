"""``nocturne init`` on a real registry and real Parquet tables."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from sklearn.linear_model import LogisticRegression

from conftest import ENCODING, Small
from nocturne import config, quality
from nocturne.cli.init import init
from nocturne.cli.init.keys import is_key
from nocturne.cli.init.model import choose, summary
from nocturne.cli.init.pipeline import _outputs
from nocturne.cli.init.sample import take
from nocturne.cli.init.table import inspect
from nocturne.contract import log_torch_model
from nocturne.encoding import OutputSpec
from nocturne.errors import ConfigError, InputError, ModelError
from nocturne.model.tracking import connect, experiment_id
from nocturne.pipeline import prepare
from nocturne.trial import Trial

ROOT = Path(__file__).parents[2]
DAYS = ("2024-01-01", "2024-01-02", "2024-01-03")


def rows(count: int, seed: int = 0) -> pa.Table:
    """What the torch model takes, with two columns that identify a row only together."""
    random = np.random.default_rng(seed)
    return pa.table(
        {
            "x": pa.array(random.normal(size=count), mask=random.random(count) < 0.1),
            "y": random.uniform(0, 90, size=count),
            "word": random.choice(["a", "b", "c"], size=count).tolist(),
            "store": np.arange(count) % 10,
            "sale": np.arange(count) // 10,
            "note": pa.nulls(count, pa.string()),
        }
    )


@pytest.fixture(scope="session")
def registered(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A registry with a torch model, aliased, and scikit-learn models with and without pickle."""
    folder = tmp_path_factory.mktemp("init")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    client = connect(uri)
    mlflow.set_experiment(experiment_id=experiment_id(client, "training"))
    log_torch_model(
        Small(),
        ENCODING,
        rows(400),
        name="small",
        partitions=["a", "b"] * 200,
        registered_model_name="small",
        alias="champion",
    )
    frame = pd.DataFrame({"x": np.arange(50.0), "yy": np.arange(50.0)})
    fitted = LogisticRegression().fit(frame, frame.x > 20)
    signature = mlflow.models.infer_signature(frame, fitted.predict(frame))
    for name, form in (("plain", "skops"), ("plain", "skops"), ("pickled", "cloudpickle")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mlflow.sklearn.log_model(
                fitted,
                name=name,
                signature=signature,
                serialization_format=form,
                pip_requirements=[],
                registered_model_name=name,
            )
    client.set_registered_model_alias("pickled", "tried", "1")
    client.create_registered_model("empty")
    return uri


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the repository's layers and no pipeline."""
    monkeypatch.delenv("NOCTURNE_ENV", raising=False)
    (tmp_path / "conf").mkdir()
    shutil.copy(ROOT / "conf" / "base.yaml", tmp_path / "conf")
    shutil.copytree(ROOT / "conf" / "env", tmp_path / "conf" / "env")
    return tmp_path


def table(folder: Path, *partitions: str, data: pa.Table | None = None) -> Path:
    for number, partition in enumerate(partitions or [""]):
        (folder / partition).mkdir(parents=True)
        rows_ = rows(300, number) if data is None else data
        pq.write_table(rows_, folder / partition / "part-0.parquet")
    return folder


Init = Callable[..., list[Path]]


@pytest.fixture(scope="session")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the models gave: each is tried once for all tests."""
    return tmp_path_factory.mktemp("trials")


@pytest.fixture
def run(root: Path, registered: str, trials: Path) -> Init:
    def call(name: str = "sales", **changes: Any) -> list[Path]:
        given: dict[str, Any] = {
            "model": "small",
            "input_path": "data",
            "output_path": None,
            "keys": None,
            "root": root,
            "tracking_uri": registered,
            "trials": trials,
        }
        return init(name, **{**given, **changes})

    return call


def test_what_is_written_loads_and_names_model_table_keys_and_suites(run: Init, root: Path) -> None:
    table(root / "data", *(f"ds={day}" for day in DAYS))
    paths = run()
    assert [p.relative_to(root / "conf").as_posix() for p in paths] == [
        "pipelines/sales.yaml",
        "expectations/sales_input.yaml",
        "expectations/sales_output.yaml",
    ]
    pipeline = config.load("sales", root=root).pipeline
    assert (pipeline.model.name, pipeline.model.alias) == ("small", "champion")
    assert not pipeline.model.allow_pickle
    assert (pipeline.input.path, pipeline.input.partition) == ("data", {"ds": "%Y-%m-%d"})
    assert pipeline.output.path == "var/scores/sales"
    assert pipeline.output.keys == ["store", "sale"]
    assert not pipeline.input.ready.success_file
    assert str(pipeline.schedule.start_date) == DAYS[0]
    text = paths[0].read_text()
    first, *_ = text.splitlines()
    assert first == "# yaml-language-server: $schema=../schema/pipeline.json"
    assert (
        "# The keys were guessed: no nulls, unique in 900 rows of 3 partitions, 2024-01-01 to"
        in text
    )


def test_the_input_suite_passes_on_the_data_it_was_made_from(run: Init, root: Path) -> None:
    folder = table(root / "data", *(f"ds={day}" for day in DAYS))
    _, suite, _ = run()
    asked = {
        (e["type"], str(e["kwargs"].get("column")))
        for e in quality.load_suite(suite)["expectations"]
    }
    assert ("expect_column_values_to_not_be_null", "y") in asked
    assert ("expect_column_values_to_not_be_null", "x") not in asked
    assert ("expect_column_values_to_be_in_set", "word") in asked
    assert ("expect_column_values_to_be_between", "x") in asked
    files = sorted(folder.rglob("*.parquet"))
    for file in files:
        on = {"input": quality.SuiteRequest(suite, files=(file,))}
        assert quality.evaluate(on).failed == ()


@pytest.mark.parametrize("folders", [("ds=2024-01-01",), ("",)], ids=["by day", "one table"])
def test_a_night_can_be_prepared_at_once(
    run: Init,
    root: Path,
    registered: str,
    folders: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table(root / "data", *folders)
    run()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registered)
    loaded = config.load("sales", root=root)
    partition = config.partition(loaded.pipeline.input.partition, "2024-01-01")
    prepared = prepare(loaded, partition, dry_run=True)
    assert (prepared.action, prepared.run and prepared.run.plan.rows) == ("dry_run", 300)


def test_ranges_are_wide_and_keep_what_was_never_negative_so(run: Init, root: Path) -> None:
    table(root / "data")
    _, suite, _ = run()
    ranges = {
        e["kwargs"]["column"]: e["kwargs"]
        for e in quality.load_suite(suite)["expectations"]
        if e["type"] == "expect_column_values_to_be_between"
    }
    assert ranges["y"]["min_value"] == 0
    assert 120 <= ranges["y"]["max_value"] <= 150
    assert ranges["x"]["min_value"] < -4 < 4 < ranges["x"]["max_value"]


def test_the_output_suite_holds_a_sigmoid_between_0_and_1(run: Init, root: Path) -> None:
    table(root / "data")
    _, _, suite = run()
    checks = quality.load_suite(suite)["expectations"]
    between = [e["kwargs"] for e in checks if e["type"] == "expect_column_values_to_be_between"]
    assert between == [{"column": "score", "min_value": 0, "max_value": 1}]


@pytest.mark.parametrize("doubled", [False, True])
def test_unique_keys_are_to_stay_so(run: Init, root: Path, doubled: bool) -> None:
    table(root / "data", data=pa.concat_tables([rows(300)] * (2 if doubled else 1)))
    written, _, _ = run(keys=["store", "sale"])
    assert yaml.safe_load(written.read_text())["quality"]["unique_keys"] is not doubled


LAYOUTS: dict[tuple[str, ...], dict[str, str]] = {
    ("",): {},
    ("day=20240101", "day=20240102"): {"day": "%Y%m%d"},
    ("ds=2024-01-01/hour=05", "ds=2024-01-01/hour=06"): {"ds": "%Y-%m-%d", "hour": "%H"},
    ("year=2024/month=01/day=31", "year=2024/month=02/day=01"): {
        "year": "%Y",
        "month": "%m",
        "day": "%d",
    },
    ("region=eu/ds=2024-01-01", "region=us/ds=2024-01-01"): {"region": "eu", "ds": "%Y-%m-%d"},
}


@pytest.mark.parametrize("folders", LAYOUTS)
def test_the_layout_is_read_from_the_folders(
    run: Init, root: Path, folders: tuple[str, ...]
) -> None:
    layout = LAYOUTS[folders]
    table(root / "data", *folders)
    text = run()[0].read_text()
    pipeline = config.load("sales", root=root).pipeline
    assert pipeline.input.partition == layout
    assert ("region is fixed: a pipeline scores one value of it; also: us" in text) == (
        "region" in layout
    )


def test_a_success_file_in_the_newest_partition_becomes_the_condition(
    run: Init, root: Path
) -> None:
    (table(root / "data", "ds=2024-01-01") / "ds=2024-01-01" / "_SUCCESS").touch()
    run()
    assert config.load("sales", root=root).pipeline.input.ready.success_file


MODELS: dict[str, tuple[str | None, int | None]] = {
    "small": ("champion", None),
    "small@champion": ("champion", None),
    "small/1": (None, 1),
}


@pytest.mark.parametrize("model", MODELS)
def test_a_model_is_selected_by_alias_version_or_what_it_has(
    run: Init, root: Path, model: str
) -> None:
    table(root / "data")
    run(model=model)
    selected = config.load("sales", root=root).pipeline.model
    assert (selected.alias, selected.version) == MODELS[model]


def plain_table(root: Path) -> None:
    table(root / "data", data=pa.table({"id": range(50), "x": np.ones(50), "yy": np.ones(50)}))


def test_without_an_alias_the_newest_version_is_taken_and_the_yaml_says_so(
    run: Init, root: Path
) -> None:
    plain_table(root)
    text = run(model="plain")[0].read_text()
    assert "version: 2  # the newest; it has no alias" in text
    pipeline = config.load("sales", root=root).pipeline
    assert (pipeline.model.version, pipeline.output.keys) == (2, ["id"])


def test_what_the_model_takes_and_gives_is_shown_with_three_scores(run: Init, root: Path) -> None:
    plain_table(root)
    said: list[str] = []
    text = run(model="plain", say=said.append)[0].read_text()
    assert said[:2] == ["inputs: x (double), yy (double)", "outputs: prediction (boolean)"]
    assert [line.split("=")[0] for line in said[2:]] == ["scored a row: prediction"] * 3
    assert "outputs:" not in text, "its signature says it"


def test_outputs_that_the_signature_does_not_say_are_written(
    run: Init, root: Path, registered: str, tmp_path: Path
) -> None:
    plain_table(root)
    written = run(model="plain")[0]
    chosen = choose("plain", tmp_path / "store", registered, allow_pickle=False)
    found = (
        OutputSpec("label", type="string"),
        OutputSpec("v", type="float32", length=3, nullable=True),
    )
    given = replace(chosen, trial=Trial(found, 64, 2, "ValueError: no"))
    assert _outputs(given) == [
        '  outputs: {label: string, v: "float[3]"}  # as it gave them; its signature says '
        "otherwise, or nothing"
    ]
    assert (
        "raised on 2 of 64 rows, which a night would quarantine: ValueError: no"
        in summary(given)[-1]
    )
    assert _outputs(chosen) == []
    assert config.load(written.stem, root=root).pipeline.model.outputs == {}


def test_a_pickle_is_refused_unless_allowed(run: Init, root: Path) -> None:
    plain_table(root)
    with pytest.raises(ModelError, match=r"`nocturne init --allow-pickle` writes that line"):
        run(model="pickled")
    text = run(model="pickled", allow_pickle=True)[0].read_text()
    assert "allow_pickle: true  # loading this model runs code" in text
    model = config.load("sales", root=root).pipeline.model
    assert (model.alias, model.allow_pickle) == ("tried", True)


def test_allowing_pickles_writes_nothing_where_there_is_none(run: Init, root: Path) -> None:
    plain_table(root)
    assert "allow_pickle" not in run(model="plain", allow_pickle=True)[0].read_text()


MODEL_ERRORS = {
    "smal": "no model 'smal' in the registry at .*: it has empty, pickled, plain, small",
    "small@best": "model 'small' has no alias 'best': it has champion",
    "plain/7": "model 'plain' has no version 7: it has 1, 2",
    "empty": "model 'empty' is registered but has no version yet",
    "small@": "got 'small@', expected NAME, NAME@ALIAS or NAME/VERSION",
    "small/new": "got 'small/new', expected NAME, NAME@ALIAS or NAME/VERSION",
}


@pytest.mark.parametrize("model", MODEL_ERRORS)
def test_a_model_that_is_not_there_is_refused_with_what_is(
    run: Init, root: Path, model: str
) -> None:
    table(root / "data")
    with pytest.raises(ModelError, match=MODEL_ERRORS[model]):
        run(model=model)
    assert not (root / "conf" / "pipelines").exists()


def test_data_that_do_not_fit_the_model_are_refused_with_near_matches(
    run: Init, root: Path
) -> None:
    wrong = pa.table({"id": [1, 2], "x": ["one", "two"], "words": ["a", "b"], "y": [1.0, 2.0]})
    table(root / "data", data=wrong)
    with pytest.raises(InputError) as error:
        run()
    assert "column 'x' is string, the model wants a number (float32)" in str(error.value)
    assert "column 'word' is missing (did you mean 'words'?)" in str(error.value)
    assert "The table has id, words, x, y" in str(error.value)
    assert str(error.value).endswith("or rename its columns")


def test_data_of_another_type_are_not_to_be_renamed(run: Init, root: Path) -> None:
    wrong = pa.table({"id": [1, 2], "x": ["one", "two"], "word": ["a", "b"], "y": [1.0, 2.0]})
    table(root / "data", data=wrong)
    with pytest.raises(InputError, match="trained on$"):
        run()


def broken(root: Path, case: str) -> None:
    data = root / "data"
    if case == "missing":
        (root / "daten").mkdir()
    elif case == "empty":
        data.mkdir()
    elif case == "csv":
        data.mkdir()
        (data / "sales.csv").write_text("x,y\n1,2\n")
    elif case == "no rows":
        table(data, data=rows(1).slice(0, 0))
    elif case == "empty folders":
        (data / "ds=2024-01-01").mkdir(parents=True)
    elif case == "mixed keys":
        table(data, "ds=2024-01-01", "day=2024-01-02")
    elif case == "no date":
        table(data, "region=eu", "region=us")
    else:
        table(data, "year=2024/month=1/day=5")


DATA_ERRORS = {
    "missing": "is not a folder; expected one that holds a Parquet table. .* has conf, daten",
    "empty": "is empty; expected Parquet files in it, or in folders such as ds=2013-04-01/",
    "csv": "sales.csv .*is not a readable Parquet file: .*CSV and JSON can be converted",
    "no rows": "has no row in all; expected data to learn the columns from",
    "empty folders": r"has 1 partition folders \(ds=2024-01-01\) and no file in those that fit",
    "mixed keys": "mixes partition keys: day, ds; expected the same in every folder",
    "no date": r"no partition key of .* tells a date: region=eu \(region=eu, region=us\)",
    "not padded": "the folders month=1 are not written as %m; expected e.g. month=04",
}


@pytest.mark.parametrize("case", DATA_ERRORS)
def test_data_that_can_not_be_learnt_from_are_refused(run: Init, root: Path, case: str) -> None:
    broken(root, case)
    with pytest.raises(InputError, match=DATA_ERRORS[case]):
        run()
    assert not (root / "conf" / "pipelines").exists()


@pytest.mark.parametrize(
    "days",
    [
        ("2026-01-01", "2026-01-02"),
        ("2026/01/01", "2026/01/02"),
        ("20260101", "20260102"),
        ("day-2026_01_01",),
    ],
)
def test_folders_named_by_a_day_without_a_key_are_not_made_one_table(
    run: Init, root: Path, days: tuple[str, ...]
) -> None:
    table(root / "data", *days)
    with pytest.raises(InputError, match=r"has a folder .* like one of many days.*ds=2013-04-01/"):
        run()
    assert not (root / "conf" / "pipelines").exists()
    for day in days:  # what the message says to do
        by_day = root / "by_day" / f"ds=2026-01-0{day[-1]}"
        by_day.parent.mkdir(exist_ok=True)
        by_day.symlink_to(root / "data" / day)
    run(input_path="by_day")
    assert config.load("sales", root=root).pipeline.input.partition == {"ds": "%Y-%m-%d"}
    run("one", input_path=f"data/{days[0]}")
    assert config.load("one", root=root).pipeline.input.partition == {}


def test_folders_that_are_no_days_are_one_table(run: Init, root: Path) -> None:
    folder = table(root / "data", "eu", "us")
    run(keys=["store", "sale"])
    assert config.load("sales", root=root).pipeline.input.partition == {}
    [everything] = inspect(folder).partitions
    assert len(inspect(folder).files(everything)) == 2


@pytest.mark.parametrize(
    "names",
    [
        ("2026-01-01", "2026-01-02"),
        ("sales_20260101", "sales_20260102"),
        ("2026.01", "2026.02"),
        ("20260101T03", "20260102T03"),
    ],
)
def test_files_named_by_days_are_not_made_one_table(
    run: Init, root: Path, names: tuple[str, ...]
) -> None:
    files_named(root / "data", *names)
    with pytest.raises(InputError, match=r"look like those of 2 days or months: .*ds=2013-04-01/"):
        run()
    assert not (root / "conf" / "pipelines").exists()


@pytest.mark.parametrize(
    "names",
    [
        ("2026-01-01",),
        ("eu-2026-01-01", "us-20260101"),
        ("part-2000", "part-2001", "part-200001", "part-200002"),
        ("a20130401b", "a20130402b"),
        ("part-0-5f0e2013-2014-04ab-2015-1d5c7e6f9a01", "part-1-5f0e2013-2016-05cd-201605-c000"),
    ],
)
def test_other_numbers_in_the_names_of_files_are_no_days(
    root: Path, names: tuple[str, ...]
) -> None:
    folder = files_named(root / "data", *names)
    [everything] = inspect(folder).partitions
    assert len(inspect(folder).files(everything)) == len(names)


def files_named(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for number, name in enumerate(names):
        pq.write_table(rows(40, number), folder / f"{name}.parquet")
    return folder


def lost(data: Path, case: str) -> None:
    """A table of which a night would not see some files, or not the right ones."""
    if case == "beside":
        (table(data) / "part-0.parquet").rename(data / "late.parquet")
        table(data, "ds=2024-01-01")
    elif case == "mixed":
        table(data, "ds=2024-01-01", "ds=2024-01-01/region=eu")
    elif case == "a day without its key":
        table(data, "ds=2024-01-01", "2024-01-02")
    elif case == "deeper":
        table(data, "flights/ds=2024-01-01")
    elif case == "delta":
        (table(data, "ds=2024-01-01") / "_delta_log").mkdir()
    elif case == "iceberg":
        table(data, "data/ds=2024-01-01")
        (data / "metadata").mkdir()
        (data / "metadata" / "00000-1.metadata.json").touch()
    elif case == "loop":
        (table(data, "ds=2024-01-01") / "ds=2024-01-01" / "back=1").symlink_to("..")
        (data / "ds=2024-01-01" / "part-0.parquet").unlink()
    else:
        (table(data, "ds=2024-01-01") / "ds=2024-01-02").symlink_to("nowhere")


LOST = {
    "beside": "late.parquet lies beside the partition folders ds=2024-01-01",
    "mixed": "part-0.parquet lies beside the partition folders region=eu",
    "a day without its key": "data/2024-01-02 lies beside the partition folders ds=2024-01-01",
    "deeper": "the partition folders of .* lie deeper in it.*Point --input at .*data/flights",
    "delta": "belongs to a table of Delta",
    "iceberg": "belongs to a table of Iceberg",
    "loop": "has a partition key twice",
    "dangling": "ds=2024-01-02: is a link to nowhere",
}


@pytest.mark.parametrize("case", LOST)
def test_a_table_of_which_nights_would_miss_something_is_refused(
    run: Init, root: Path, case: str
) -> None:
    lost(root / "data", case)
    with pytest.raises(InputError, match=LOST[case]):
        run()
    assert not (root / "conf" / "pipelines").exists()


def test_given_keys_are_taken_though_they_repeat_and_the_yaml_says_so(
    run: Init, root: Path
) -> None:
    table(root / "data")
    path, suite, _ = run(keys=["store"])
    assert (
        "# The keys are not without nulls and unique in 300 rows of the table" in path.read_text()
    )
    assert config.load("sales", root=root).pipeline.output.keys == ["store"]
    assert "unique" not in suite.read_text()


def test_a_given_key_that_is_no_column_is_refused(run: Init, root: Path) -> None:
    table(root / "data")
    with pytest.raises(ConfigError, match="key: got 'stor' .did you mean 'store'"):
        run(keys=["stor"])


def test_no_key_is_guessed_where_none_identifies_a_row(run: Init, root: Path) -> None:
    table(root / "data", data=pa.concat_tables([rows(20), rows(20)]))
    with pytest.raises(ConfigError, match=r"no set of up to three columns identifies.*--key"):
        run()


def test_a_column_called_id_is_preferred_and_one_with_a_null_is_none(run: Init, root: Path) -> None:
    data = rows(300).append_column("sale_id", pa.array(range(300)))
    table(root / "data", data=data.append_column("id", pa.array([None, *range(299)])))
    run()
    assert config.load("sales", root=root).pipeline.output.keys == ["sale_id"]


def test_a_guess_that_fails_in_a_partition_outside_of_the_sample_is_dropped(
    run: Init, root: Path
) -> None:
    folder = table(root / "data", *(f"ds=2024-01-{day:02d}" for day in range(1, 15)))
    for file in folder.rglob("*.parquet"):
        seconds = [0] * 300 if "01-06" in str(file) else range(300)
        day = pq.read_table(file, partitioning=None).append_column("second", pa.array(seconds))
        pq.write_table(day, file)
    assert is_key(take(inspect(folder)), ["second"])
    run()
    assert config.load("sales", root=root).pipeline.output.keys == ["store", "sale"]


def test_existing_files_stay_unless_forced(run: Init, root: Path) -> None:
    table(root / "data")
    path, suite, _ = run()
    suite.write_text("mine")
    path.unlink()
    with pytest.raises(ConfigError, match=r"sales_output.yaml exist already; nothing was written"):
        run()
    assert suite.read_text() == "mine"
    run(force=True)
    assert suite.read_text() != "mine"


def test_a_name_that_could_escape_its_folder_is_refused(run: Init) -> None:
    with pytest.raises(ConfigError, match=r"name: got '\.\./x', expected a letter"):
        run("../x")


@pytest.mark.parametrize("option", ["input", "output"])
def test_a_uri_is_refused_by_the_name_of_its_option(run: Init, root: Path, option: str) -> None:
    table(root / "data", *(f"ds={day}" for day in DAYS))
    said = f"{option}: got 's3://lake/x': the scheme s3: is not supported"
    with pytest.raises(ConfigError, match=said):
        run(**{f"{option}_path": "s3://lake/x"})
    assert not (root / "conf" / "pipelines" / "sales.yaml").exists()


def test_nothing_is_left_behind_where_the_result_would_not_load(run: Init, root: Path) -> None:
    table(root / "data")
    run()
    before = {p: p.read_bytes() for p in (root / "conf").rglob("*") if p.is_file()}
    with pytest.raises(ConfigError, match="lie inside one another"):
        run(output_path="data/scores", force=True)
    with pytest.raises(ConfigError, match="lie inside one another"):
        run("other", output_path="data/scores")
    after = {p: p.read_bytes() for p in (root / "conf").rglob("*") if p.is_file()}
    assert after == before


def test_an_input_outside_of_the_project_is_written_absolute(
    run: Init, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = table(tmp_path_factory.mktemp("elsewhere") / "data")
    run(input_path=str(folder))
    assert config.load("sales", root=root).pipeline.input.path == str(folder)


def test_the_sample_spans_the_table_and_leaves_out_partitions_of_another_schema(
    tmp_path: Path,
) -> None:
    folder = table(tmp_path / "data", *(f"ds=2024-01-{day:02d}" for day in range(1, 12)))
    old = rows(50).drop_columns("note")
    pq.write_table(old, folder / "ds=2024-01-01" / "part-0.parquet")
    sample = take(inspect(folder))
    assert sample.partitions[-1] == "2024-01-11"
    assert len(sample.partitions) == 4
    assert "2024-01-01" not in sample.partitions


def test_keys_of_the_folders_are_columns_that_a_model_may_take(run: Init, root: Path) -> None:
    for number, day in enumerate(DAYS):
        folder = root / "data" / "word=a" / f"ds={day}"
        folder.mkdir(parents=True)
        pq.write_table(rows(300, number).drop_columns(["word"]), folder / "part-0.parquet")
    run()
    loaded = config.load("sales", root=root)
    assert loaded.pipeline.output.keys == ["store", "sale"]
    day = config.partition(loaded.pipeline.input.partition, DAYS[0])
    planned = prepare(loaded, day, dry_run=True).run
    assert planned is not None
    assert planned.plan.path_keys == ("word",)
    text = (root / "conf" / "expectations" / "sales_input.yaml").read_text()
    assert "{column: word, value_set: [a, b], mostly: 0.95}" in text


def test_a_key_of_the_folders_identifies_no_row(run: Init, root: Path) -> None:
    """Although each folder has one row, and the key a name that is preferred."""
    for number, day in enumerate(DAYS):
        folder = root / "data" / "tenant_id=7" / f"ds={day}"
        folder.mkdir(parents=True)
        pq.write_table(rows(1, number), folder / "part-0.parquet")
    run()
    keys = config.load("sales", root=root).pipeline.output.keys
    assert not {"tenant_id", "ds"} & set(keys)
    run("other", keys=["tenant_id", "sale"])
    assert config.load("other", root=root).pipeline.output.keys == ["tenant_id", "sale"]


def test_links_among_partition_folders_that_double_on_each_level_end(run: Init, root: Path) -> None:
    """2^30 paths lead to the day."""
    at = root / "elsewhere"
    table(at, f"ds={DAYS[0]}")
    for level in range(30):
        inner, at = at, root / f"level{level}"
        at.mkdir()
        (at / f"k{level}=a").symlink_to(inner)
        (at / f"k{level}=b").symlink_to(inner)
    with pytest.raises(InputError, match=r"one folder under more than 16 names \(links\)"):
        run(input_path=at.name)


CASTS: dict[str, tuple[pa.Array, str]] = {
    "decimals": (pa.array([1, 2, 3]).cast(pa.decimal128(21, 2)), "double"),
    "text": (pa.array(["1.5", " 2", None]), "double"),
}


@pytest.mark.parametrize("case", CASTS)
def test_the_cast_that_a_column_needs_is_written_with_its_reason(
    run: Init, root: Path, case: str
) -> None:
    column, how = CASTS[case]
    data = rows(3).set_column(1, "y", column)
    table(root / "data", f"ds={DAYS[0]}", data=data)
    [path, *_] = run()
    loaded = config.load("sales", root=root)
    assert loaded.pipeline.input.cast == {"y": how}
    assert f"# What the model sees; the table has y as {column.type}." in path.read_text()
    day = config.partition(loaded.pipeline.input.partition, DAYS[0])
    assert prepare(loaded, day, dry_run=True).action == "dry_run"


UNSOUND: dict[str, tuple[str, pa.Array, str]] = {
    "a word among the numbers": ("y", pa.array(["1.5", "two", None]), "'y' is string"),
    "a zone": (
        "y",
        pa.array([1, 2, 3], pa.timestamp("us", "Europe/Berlin")),
        r"'y' is timestamp\[us, tz=Europe/Berlin\]",
    ),
    "numbers that the model has no words for": ("word", pa.array([1, 2, 3]), "'word' is int64"),
}


@pytest.mark.parametrize("case", UNSOUND)
def test_a_cast_that_would_lose_values_or_that_a_person_decides_is_not_written(
    run: Init, root: Path, case: str
) -> None:
    name, column, said = UNSOUND[case]
    data = rows(3)
    data = data.set_column(data.schema.get_field_index(name), name, column)
    table(root / "data", f"ds={DAYS[0]}", data=data)
    with pytest.raises(InputError, match=said):
        run()


def test_times_that_python_can_not_hold_are_no_obstacle(run: Init, root: Path) -> None:
    far = pa.array([2**62, 0, -(2**62)]).cast(pa.timestamp("us"))
    days = pa.array([2**31 - 1, 0, -(2**31)], pa.int32()).cast(pa.date32())
    data = rows(3).append_column("at", far).append_column("day", days)
    table(root / "data", f"ds={DAYS[0]}", data=data)
    run(keys=["at", "day"])
    assert config.load("sales", root=root).pipeline.output.keys == ["at", "day"]
