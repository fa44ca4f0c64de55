"""Configuration: layered, typed, and every wrong value named with its file, key and choices."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nocturne import config
from nocturne.config.layers import merge
from nocturne.config.local_paths import check_local
from nocturne.config.schema import schemas
from nocturne.errors import ConfigError
from nocturne.pipeline.places import Places

ROOT = Path(__file__).parents[2]
PIPELINE = {
    "model": {"name": "m", "alias": "champion"},
    "input": {"path": "in"},
    "output": {"path": "out/scores", "keys": ["id"]},
}


@pytest.fixture
def project(tmp_path: Path):  # type: ignore[no-untyped-def]
    def write(pipeline=None, base=None, env=None, text=None) -> Path:  # type: ignore[no-untyped-def]
        for name, content in (("base", base), ("env/local", env), ("pipelines/p", pipeline)):
            path = tmp_path / "conf" / f"{name}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(yaml.safe_dump(content or {}))
        if text is not None:
            (tmp_path / "conf" / "pipelines" / "p.yaml").write_text(text)
        return tmp_path

    return write


def _error(root: Path, **arguments) -> str:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError) as caught:
        config.load("p", root=root, **arguments)
    return str(caught.value)


def test_a_later_layer_wins_and_each_value_knows_its_origin(project) -> None:  # type: ignore[no-untyped-def]
    root = project(
        {**PIPELINE, "scoring": {"threads": 3}},
        base={"scoring": {"threads": 1, "micro_batch": 128}, "quality": {"on_failure": "warn"}},
        env={"scoring": {"threads": 2, "batch_rows": 1000}},
    )
    loaded = config.load("p", root=root, overrides={"scoring.batch_rows": 500})
    scoring = loaded.pipeline.scoring
    assert (scoring.threads, scoring.micro_batch, scoring.batch_rows) == (3, 128, 500)
    origins = {key: origin for key, _, origin in loaded.values()}
    assert origins["scoring.threads"] == "conf/pipelines/p.yaml"
    assert origins["scoring.micro_batch"] == "conf/base.yaml"
    assert origins["scoring.batch_rows"] == "run parameter"
    assert origins["scoring.device"] == "default"


def test_zero_false_and_empty_text_survive_a_merge() -> None:
    low = {"a": {"x": 1, "y": True, "z": "text"}, "b": 2}
    assert merge(low, {"a": {"x": 0, "y": False, "z": ""}}) == {
        "a": {"x": 0, "y": False, "z": ""},
        "b": 2,
    }


@given(
    st.recursive(
        st.dictionaries(st.sampled_from("abc"), st.integers() | st.booleans() | st.none()),
        lambda inner: st.dictionaries(st.sampled_from("abc"), inner),
        max_leaves=8,
    )
)
def test_merging_nothing_changes_nothing(tree) -> None:  # type: ignore[no-untyped-def]
    assert merge(tree, {}) == tree
    assert merge({}, tree) == tree
    assert merge(tree, tree) == tree


def test_a_version_given_for_one_run_replaces_the_alias(project) -> None:  # type: ignore[no-untyped-def]
    model = config.load("p", root=project(PIPELINE), overrides={"model.version": 7}).pipeline.model
    assert (model.version, model.alias) == (7, None)


def test_an_unknown_key_names_file_key_choices_and_the_nearest(project) -> None:  # type: ignore[no-untyped-def]
    root = project({**PIPELINE, "scoring": {"micro_bach": 64}})
    said = _error(root)
    assert said.startswith(
        "conf/pipelines/p.yaml: scoring.micro_bach: unknown key (did you mean 'micro_batch'?); "
        "expected one of"
    )


def test_a_wrong_value_in_a_lower_layer_names_that_layer(project) -> None:  # type: ignore[no-untyped-def]
    said = _error(project(PIPELINE, env={"quality": {"on_failure": "explode"}}))
    assert said.startswith("conf/env/local.yaml: quality.on_failure: got 'explode'")
    assert "'warn', 'hold' or 'fail'" in said


def test_a_missing_setting_is_named(project) -> None:  # type: ignore[no-untyped-def]
    assert "output.keys: missing" in _error(project({**PIPELINE, "output": {"path": "o"}}))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"name": "m"}, "exactly one of alias, tags and version selects the model; got none"),
        ({"name": "m", "alias": "a", "version": 2}, "got alias and version"),
        ({"name": "../m", "alias": "a"}, "model.name"),
        ({"name": "m", "alias": "a", "inputs": ["x", "y", "x"]}, "x is listed twice"),
        ({"name": "m", "alias": "a", "inputs": {"t": ["x", "x"]}}, "x is listed twice"),
        ({"name": "m", "alias": "a", "inputs": []}, "model.inputs"),
        ({"name": "m", "alias": "a", "params": {"t": {"u": 1}}}, "model.params"),
    ],
)
def test_a_model_is_selected_in_exactly_one_way(project, model, message) -> None:  # type: ignore[no-untyped-def]
    assert message in _error(project({**PIPELINE, "model": model}))


@pytest.mark.parametrize("name", ["../p", "p/../p", "/etc/passwd", "nope", "", "p.yaml"])
def test_a_pipeline_name_can_not_leave_its_folder(project, name: str) -> None:  # type: ignore[no-untyped-def]
    root = project(PIPELINE)
    with pytest.raises(ConfigError, match="expected one of p "):
        config.load(name, root=root)


def test_an_unknown_environment_lists_those_that_exist(project) -> None:  # type: ignore[no-untyped-def]
    assert "no environment 'moon' (NOCTURNE_ENV): expected one of local" in _error(
        project(PIPELINE), env="moon"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "is not YAML that can be read"),
        ("- just\n- a list", "got a list, expected `key: value` lines"),
        ("!!python/object/apply:os.system ['echo hacked']", "is not YAML that can be read"),
        ("a: 1\na: 2", "line 2: the key 'a' is there twice; keep one of them"),
        ("a: &a [*a]", "line 1: the anchor 'a' holds itself"),
        ("a: " + "[" * 3000 + "]" * 3000, "nested more than 64 deep"),
        ("a: 2013-13-45", "month must be in 1..12"),
        (
            "a: &a0 [x]\n"
            + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 20)),
            "more than 200,000 values",
        ),
        ("drift: {baseline: {week: 8}}", "drift.baseline"),
    ],
)
def test_yaml_that_is_none_or_that_would_run_code_is_refused(project, text, message) -> None:  # type: ignore[no-untyped-def]
    assert message in _error(project(text=text))


def test_credentials_in_a_uri_are_refused(project) -> None:  # type: ignore[no-untyped-def]
    said = _error(project({**PIPELINE, "registry": {"registry_uri": "http://me:pw@host"}}))
    assert "a URI with credentials" in said
    said = _error(project({**PIPELINE, "registry": {"tracking_uri": "http://me:pw@host"}}))
    assert "set MLFLOW_TRACKING_USERNAME" in said
    assert "pw" not in said


def test_secrets_in_spark_settings_are_refused(project) -> None:  # type: ignore[no-untyped-def]
    conf = {
        "spark.hadoop.fs.s3a.secret.key": "hush",
        "spark.cores.max": 2,
        "spark.hadoop.fs.azure.account.key.x": "hush",
    }
    said = _error(project({**PIPELINE, "spark": {"conf": conf}}))
    keys = "spark.hadoop.fs.azure.account.key.x, spark.hadoop.fs.s3a.secret.key"
    assert f"{keys} would show in argument lists" in said
    assert "hush" not in said
    assert "spark.cores.max" not in said


@pytest.mark.parametrize("value", ["..", "%Y/%m", "a b", "%q", "", "../%Y"])
def test_a_partition_value_can_not_leave_the_table(project, value: str) -> None:  # type: ignore[no-untyped-def]
    said = _error(project({**PIPELINE, "input": {"path": "in", "partition": {"ds": value}}}))
    assert "is not a partition value" in said


@pytest.mark.parametrize(
    "layout",
    [{"month": "%Y-%m"}, {"region": "eu"}, {"hour": "%H"}, {"year": "%Y", "ds": "%Y-%m-%d"}],
)
def test_a_layout_that_does_not_lead_back_to_its_day_is_refused(project, layout) -> None:  # type: ignore[no-untyped-def]
    said = _error(project({**PIPELINE, "input": {"path": "in", "partition": layout}}))
    assert "does not lead back from a folder to its day" in said


def test_an_unpartitioned_table_has_no_range() -> None:
    with pytest.raises(ConfigError, match="a range needs a partitioned table"):
        list(config.span({}, "2024-01-01", "2024-01-02"))


@pytest.mark.parametrize("model", [5, ["a"], None])
def test_a_section_that_is_no_section_is_refused(project, model) -> None:  # type: ignore[no-untyped-def]
    assert "conf/pipelines/p.yaml: model: got" in _error(project({**PIPELINE, "model": model}))


def test_a_secret_in_a_wrong_place_is_not_said(project) -> None:  # type: ignore[no-untyped-def]
    said = _error(project({**PIPELINE, "registry": "http://me:hush@host"}))
    assert "hush" not in said


@pytest.mark.parametrize("name", ["../../secret.yaml", "/etc/passwd"])
def test_a_suite_can_not_lie_elsewhere(project, name: str) -> None:  # type: ignore[no-untyped-def]
    loaded = config.load("p", root=project(PIPELINE))
    (loaded.home / "conf" / "expectations").mkdir()
    with pytest.raises(ConfigError, match="lies outside of"):
        loaded.suite(name)


def test_a_missing_suite_lists_those_there_are(project) -> None:  # type: ignore[no-untyped-def]
    loaded = config.load("p", root=project(PIPELINE))
    folder = loaded.home / "conf" / "expectations"
    folder.mkdir()
    (folder / "one.yaml").touch()
    with pytest.raises(ConfigError, match=r"no suite 'two.yaml' in .*: it has one\.yaml"):
        loaded.suite("two.yaml")


@pytest.mark.parametrize("output", ["in", "in/scores", "."])
def test_input_and_output_must_not_overlap(project, output: str) -> None:  # type: ignore[no-untyped-def]
    root = project({**PIPELINE, "output": {"path": output, "keys": ["id"]}})
    with pytest.raises(ConfigError, match="lie inside one another"):
        Places.of(config.load("p", root=root))


DAILY, HOURLY = {"ds": "%Y-%m-%d"}, {"region": "eu", "ds": "%Y%m%d", "hour": "%H"}


def test_layouts_fill_in_their_formats() -> None:
    assert config.partition(DAILY, "2013-04-01").path == "ds=2013-04-01"
    assert config.partition(HOURLY, "2013-04-01T05").path == "region=eu/ds=20130401/hour=05"
    assert config.partition({}, "2013-04-01").path == ""


@pytest.mark.parametrize("layout", [DAILY, HOURLY])
def test_a_path_leads_back_to_its_partition(layout: dict[str, str]) -> None:
    key = "2013-04-01T05" if layout is HOURLY else "2013-04-01"
    partition = config.partition(layout, key)
    assert config.from_path(layout, partition.path) == partition
    for wrong in ("ds=tomorrow", "other=1", "ds=2013-04-01/x=1", "region=us/ds=20130401/hour=05"):
        assert config.from_path(layout, wrong) is None


@pytest.mark.parametrize(
    "key", ["2013-4-1", "yesterday", "../..", "2013-02-30", "2013-04-01T05", ""]
)
def test_a_malformed_date_is_refused_with_an_example(key: str) -> None:
    with pytest.raises(ConfigError, match="expected a partition key such as 2013-04-01"):
        config.partition(DAILY, key)


def test_a_range_holds_both_ends() -> None:
    assert [p.key for p in config.span(DAILY, "2012-02-28", "2012-03-01")] == [
        "2012-02-28",
        "2012-02-29",
        "2012-03-01",
    ]
    assert len(list(config.span(HOURLY, "2013-04-01T22", "2013-04-02T01"))) == 4


def test_the_last_day_of_the_calendar_is_a_partition() -> None:
    [last] = config.span(DAILY, "9999-12-31", None)
    assert last.path == "ds=9999-12-31"
    [last] = config.span(HOURLY, "9999-12-31T23", "9999-12-31T23")
    assert config.later(DAILY, config.parse(DAILY, "9999-12-31"), 1) is None
    assert config.later(DAILY, config.parse(DAILY, "1000-01-01"), -1) is None


def test_a_range_too_long_to_be_meant_is_refused() -> None:
    with pytest.raises(ConfigError, match="more than 100,000 partitions; give it in parts"):
        list(config.span(DAILY, "1000-01-01", "9999-12-31"))


def test_a_range_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(ConfigError, match="swap them"):
        list(config.span(DAILY, "2013-04-02", "2013-04-01"))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            {"alerts": [{"to": "pigeon", "connection": "c"}]},
            r"p\.yaml: alerts\.0\.to: got 'pigeon': .*'email', .*'slack'.* or 'webhook'",
        ),
        (
            {"alerts": [{"to": "slack", "connection": "c"}, {"to": "email", "connection": "c"}]},
            r"alerts\.1\.recipients: missing; it has no default",
        ),
        (
            {"alerts": [{"to": "email", "connection": "c", "recipients": []}]},
            r"alerts\.0\.recipients: got \[\]: .* at least 1 item",
        ),
        (
            {"alerts": [{"to": "slack", "connection": "c", "recipients": ["a"]}]},
            r"p\.yaml: alerts\.0\.recipients: unknown key; expected one of connection, events, to; "
            "recipients is for email",
        ),
        (
            {"alerts": [{"to": "slack", "connection": "c", "endpoint": "x"}]},
            r"alerts\.0\.endpoint: .*; endpoint is for webhook",
        ),
        ({"alerts": [{"connection": "c"}]}, r"p\.yaml: alerts\.0\.to: missing"),
        (
            {"alerts": [{"to": "slack", "connection": "c", "event": ["late"]}]},
            r"alerts\.0\.event: unknown key \(did you mean 'events'\?\); ",
        ),
        (
            {"alerts": [{"to": "slack", "connection": "c", "events": ["later"]}]},
            "'truth' or 'promotion'",
        ),
        ({"slo": {"by": "6:30"}}, r"slo\.by: got '6:30': expected hours and minutes"),
        ({"slo": {"by": 630}}, r"slo\.by: got 630: write the time in quotes: '10:30'"),
        ({"slo": {"by": "06:30", "within_minutes": 5}}, "give by or within_minutes, not both"),
        (
            {"slo": {"by": "06:30"}, "input": {"path": "in", "partition": {"d": "%Y-%m-%dT%H"}}},
            "slo.by is for daily partitions; use slo.within_minutes",
        ),
        (
            {"model": {"name": "m", "version": 1, "on_new_model": "latest"}},
            "watches an alias or tags; version never changes",
        ),
        (
            {"schedule": {"pool": "gpu"}},
            r"p\.yaml: schedule\.pool: got 'gpu', expected default_pool, spark; .*conf/pools\.json",
        ),
    ],
)
def test_wrong_alerts_promises_and_pools_are_named(project, section, message) -> None:  # type: ignore[no-untyped-def]
    root = project(PIPELINE | section)
    (root / "conf" / "pools.json").write_text('{"spark": {"slots": 1}}')
    with pytest.raises(ConfigError, match=message):
        config.load("p", root=root)


def test_an_alert_of_a_lower_layer_knows_its_file(project) -> None:  # type: ignore[no-untyped-def]
    root = project(PIPELINE, base={"alerts": [{"to": "slack"}]})
    assert _error(root).startswith("conf/base.yaml: alerts.0.connection: missing")


def test_pools_that_are_no_json_are_refused(project) -> None:  # type: ignore[no-untyped-def]
    root = project(PIPELINE | {"schedule": {"pool": "gpu"}})
    (root / "conf" / "pools.json").write_text("gpu: 1")
    assert "conf/pools.json can't be read as JSON" in _error(root)


def test_the_committed_schemas_are_fresh() -> None:
    for name, schema in schemas().items():
        committed = json.loads((ROOT / "conf" / "schema" / name).read_text())
        assert committed == schema, "run `nocturne config schema` and commit"


def test_every_committed_pipeline_is_valid_and_points_editors_to_the_schema() -> None:
    for name in config.names(ROOT):
        config.load(name, root=ROOT)
        first = (ROOT / "conf" / "pipelines" / f"{name}.yaml").read_text().splitlines()[0]
        assert first == "# yaml-language-server: $schema=../schema/pipeline.json"


URIS = (
    "S3A://lake/x",
    "S3://lake/x",
    "hdfs://name/x",
    "dbfs:/mnt/x",
    "https://example.com/x",
    " s3://lake/x",
)


@pytest.mark.parametrize("uri", URIS)
def test_a_uri_names_no_folder(project, uri: str) -> None:  # type: ignore[no-untyped-def]
    said = _error(project({**PIPELINE, "input": {"path": uri, "on_missing": "skip"}}))
    scheme = uri.strip().partition("/")[0]
    assert said.startswith("conf/pipelines/p.yaml: input.path: got ")
    assert f"the scheme {scheme} is not supported, only s3://, gs://, az:// and abfs://" in said
    assert "Mount the store or copy the files" in said


@pytest.mark.parametrize(
    "uri", ["s3://lake/x", "gs://lake", "az://c/x", "abfs://c@a.dfs.core.windows.net/x"]
)
def test_a_uri_of_a_store_names_an_input(project, uri: str) -> None:  # type: ignore[no-untyped-def]
    loaded = config.load("p", root=project({**PIPELINE, "input": {"path": uri}}))
    assert str(loaded.location(loaded.pipeline.input.path)) == uri
    with pytest.raises(ConfigError, match="a local folder is needed here"):
        loaded.path(loaded.pipeline.input.path)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"path": "s3://b/x"}, "a reader of parquet files could see a half published night"),
        ({"path": "s3://b/x", "format": "delta"}, None),
        ({"path": "s3://b/x", "format": "delta", "state": "az://c/y"}, None),
        ({"path": "s3://b/x", "format": "delta", "state": "s3a://b/y"}, "is not supported"),
        ({"path": "x", "format": "delta", "state": "y"}, "state is for a path in an object store"),
        ({"path": "s3://b/x", "format": "delta", "state": "y"}, None),
    ],
)
def test_a_table_in_a_store_is_a_lake_table_with_its_state_beside_it_or_elsewhere(
    project, settings: dict[str, str], said: str | None
) -> None:  # type: ignore[no-untyped-def]
    root = project({**PIPELINE, "output": {**PIPELINE["output"], **settings}})
    if said is None:
        config.load("p", root=root)
    else:
        assert said in _error(root)


@pytest.mark.parametrize("uri", ["s3://", "s3:///x", "s3://lake//x", "s3://a b/x"])
def test_a_uri_that_is_none_of_a_store_is_refused(project, uri: str) -> None:  # type: ignore[no-untyped-def]
    said = _error(project({**PIPELINE, "input": {"path": uri}}))
    assert said.startswith(f"conf/pipelines/p.yaml: input.path: got {uri!r}: ")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("input.tables.weather", "s3://lake/weather/ds={ds}"),
        ("quality.input_suite", "s3://lake/suite.yaml"),
        ("quality.output_suite", "s3://lake/suite.yaml"),
    ],
)
def test_every_key_that_names_a_place_refuses_a_uri(project, key: str, value: str) -> None:  # type: ignore[no-untyped-def]
    said = _error(project(PIPELINE), overrides={"input.sql": "select 1", key: value})
    assert said.startswith(f"run parameter: {key}: got {value!r}: the scheme s3: is not supported")


@pytest.mark.parametrize("uri", ["file:///data/x", "file:/data/x", "FILE:///data/x"])
def test_the_uri_of_a_file_says_how_its_path_is_written(project, uri: str) -> None:  # type: ignore[no-untyped-def]
    said = _error(project({**PIPELINE, "input": {"path": uri}}))
    assert "URIs are not supported; write the path without file: (/data/x)" in said


def test_credentials_in_a_uri_are_not_said(project) -> None:  # type: ignore[no-untyped-def]
    said = _error(project({**PIPELINE, "input": {"path": "s3://me:secret@lake/x"}}))
    assert "secret" not in said
    with pytest.raises(ConfigError) as caught:
        check_local("input", "s3://me:secret@lake/x")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("path", ["data/a:b", "./a:/b", "/data/ds=1:/x", "~/x", "C:x", "../x"])
def test_a_colon_in_a_path_is_no_scheme(project, path: str) -> None:  # type: ignore[no-untyped-def]
    loaded = config.load("p", root=project({**PIPELINE, "input": {"path": path}}))
    assert loaded.pipeline.input.path == path
