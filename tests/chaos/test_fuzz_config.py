"""Whatever a pipeline's YAML says: a clear error or a pipeline; no traceback, no hang, no code."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from chaos.fuzz import clean, examples, in_time, mutated, odd_dates, odd_text
from nocturne.config import Loaded, from_path, load, partition, span
from nocturne.errors import ConfigError, ModelError, NocturneError
from nocturne.model.artifact import code_in, mlmodel
from nocturne.model.signature import encoding_of_signature
from nocturne.quality import load_suite
from nocturne.records.plan import ModelRef

ROOT = Path(__file__).parents[2]
PIPELINE = {
    "model": {"name": "small", "alias": "champion", "tags": None},
    "input": {
        "path": "data",
        "partition": {"ds": "%Y-%m-%d"},
        "options": {},
        "tables": {},
        "ready": {"min_rows": 1},
    },
    "output": {"path": "out/scores", "keys": ["id"], "passthrough": ["word"], "keep": 2},
    "scoring": {"split_rows": 100, "micro_batch": 64, "reader": "pyarrow"},
    "quality": {"max_quarantined": 0.5, "sensitive": []},
    "drift": {"baseline": {"weeks": 8}, "segments": ["word"], "floor": 0.02},
    "schedule": {"timezone": "UTC", "start_date": "2024-01-01", "pool": "default_pool"},
    "slo": {"by": "06:30"},
    "alerts": [{"to": "email", "connection": "smtp", "recipients": ["a@b"], "events": ["held"]}],
    "spark": {"master": "local[2]", "conf": {"spark.ui.enabled": False}},
    "registry": {"tracking_uri": None, "experiment": None},
}
PIECES = [
    "a: ",
    "model: ",
    "input: {path: x}\n",
    "- ",
    "? ",
    ": ",
    "\n",
    "  ",
    "&x ",
    "*x",
    "<<: *x\n",
    "{",
    "}",
    "[",
    "]",
    ", ",
    "|\n  ",
    ">-\n",
    "\t",
    "# ",
    "---\n",
    "...\n",
    "%YAML 9.9\n",
    "=",
    "!!int ",
    "!!float ",
    "!!bool maybe",
    "!!binary '/'",
    "!!set {a}",
    "!!omap [a: 1]",
    "! ",
    "~",
    "!!python/object/apply:os.system ['touch MARKER']",
    "!!python/name:os.system",
    "'",
    '"',
    "!!timestamp x",
    "2013-13-45",
    "2013-02-30 25:61:61",
    "1" * 5000,
    "0x",
    "0o9",
    "1_0",
    "190:20:30",
    ".nan",
    "-.inf",
    "1e999",
    "\0",
    "\x85",
    "\ufeff",
    "\U0001f600",
]

texts = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=25).map("".join).map(str.encode),
    mutated(PIPELINE).map(lambda tree: yaml.safe_dump(tree).encode()),
    st.binary(max_size=60),
    st.text(max_size=60).map(lambda text: text.encode(errors="replace")),
    st.sampled_from(
        [
            b"a: &a [x]\n"
            + b"".join(
                b"%c: &%c [%s]\n" % (n + 1, n + 1, b",".join([b"*%c" % n] * 9))
                for n in range(97, 120)
            ),
            b"a: " + b"[" * 100_000,
            b"{a: " * 5_000,
            b"- " * 5_000,
            b"a: &a {b: *a}",
            b"? " * 5_000,
            b"<<: &a {<<: *a}",
            b"a: *b",
            b"\xff\xfea\x00",
            b"a: 1\na: 2",
            b"&a : *a",
            b"[*a]: &a",
        ]
    ),
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("config")
    for name in ("env", "expectations", "pipelines"):
        (folder / "conf" / name).mkdir(parents=True)
    shutil.copy(ROOT / "conf" / "base.yaml", folder / "conf")
    shutil.copy(ROOT / "conf" / "env" / "local.yaml", folder / "conf" / "env")
    return folder


@given(texts)
@examples(20)
def test_a_pipelines_yaml(root: Path, text: bytes) -> None:
    (root / "conf" / "pipelines" / "p.yaml").write_bytes(text)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("NOCTURNE_HOME", str(root))
        patched.chdir(root)
        code, _, _ = clean("config", "show", "p", "--json")
        assert clean("config", "check")[0] == code
        if code == 0:
            clean("status", "p", "--json")
    assert not (root / "MARKER").exists()


@given(texts, st.sampled_from([".yaml", ".json"]))
@examples(15)
def test_a_suite(root: Path, text: bytes, suffix: str) -> None:
    path = (root / "conf" / "expectations" / "s").with_suffix(suffix)
    path.write_bytes(text)
    with in_time(), pytest.raises(ConfigError, match="expectations/s"):
        load_suite(path)
    assert not Path("MARKER").exists()


INPUTS = [
    {"type": "double", "name": "x", "required": True},
    {"type": "string", "name": "word", "required": False},
    {"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 4]}},
]
MLMODEL = {
    "flavors": {
        "python_function": {
            "loader_module": "mlflow.sklearn",
            "model_path": "model.skops",
            "predict_fn": "predict",
            "env": {"conda": "conda.yaml"},
        },
        "sklearn": {
            "pickled_model": "model.skops",
            "serialization_format": "skops",
            "code": None,
            "sklearn_version": "1.7",
        },
        "pytorch": {"model_data": "data", "code": None},
    },
    "model_id": "m-1",
    "signature": {"inputs": "[]", "outputs": "[]", "params": None},
}


@st.composite
def described(draw: st.DrawFn) -> bytes:
    """An MLmodel file of which something is odd, often within the JSON of its signature."""
    tree = draw(mutated(MLMODEL))
    signature = tree.get("signature") if isinstance(tree, dict) else None
    if isinstance(signature, dict):
        for side in ("inputs", "outputs"):
            how = draw(st.sampled_from(["right", "mutated", "text"]))
            columns = draw(mutated(INPUTS)) if how == "mutated" else INPUTS[:2]
            signature[side] = draw(odd_text) if how == "text" else json.dumps(columns)
    return yaml.safe_dump(tree).encode()


@given(st.one_of(texts, described()))
@examples(15)
def test_a_models_description(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "described"
    folder.mkdir(exist_ok=True)
    (folder / "MLmodel").write_bytes(text)
    with in_time(), suppress(ModelError):
        said = mlmodel(folder, "a model")
        assert isinstance(said, dict)
        code_in(folder, said)
        flavors = tuple(said["flavors"])
        ref = ModelRef("m", 1, "alias a", "pyfunc", "", str(folder), None, None, flavors)
        assert encoding_of_signature(ref).columns
    assert not Path("MARKER").exists()


LAYOUTS = st.one_of(
    st.sampled_from([{"ds": "%Y-%m-%d"}, {"ds": "%Y-%m-%d", "hour": "%H"}, {}]),
    st.dictionaries(
        st.sampled_from("abc"),
        st.text("%YmdHMSjUuVG-_.2x", min_size=1, max_size=8),
        max_size=3,
    ),
)


@given(LAYOUTS, odd_dates, odd_dates)
@examples(30)
def test_dates_of_any_layout(layout: dict[str, str], first: str, last: str) -> None:
    config = {**PIPELINE, "slo": {}, "input": {"path": "data", "partition": layout}}
    loaded = _loaded(config)
    if loaded is None:
        return
    layout = loaded.pipeline.input.partition
    with in_time((layout, first, last)):
        from_path(layout, first)
        try:
            found = partition(layout, first)
            assert from_path(layout, found.path) == (found if layout else None)
            for _, one in zip(range(3), span(layout, first, last), strict=False):
                assert one.key >= found.key
        except ConfigError:
            pass


def _loaded(config: object) -> Loaded | None:
    home = Path.cwd()
    try:
        from nocturne.config import Pipeline

        return Loaded(Pipeline.model_validate(config), {}, home)
    except (NocturneError, ValueError):
        return None


def test_the_pipeline_that_is_mutated_is_right(root: Path) -> None:
    (root / "conf" / "pipelines" / "p.yaml").write_text(yaml.safe_dump(PIPELINE))
    assert load("p", root=root).pipeline.slo.by == "06:30"
