"""Models that try to run code: resolved, loaded and called as a night would, they leave no mark.

Each is made from a model that MLflow logged, and registered in a real registry. The mark is a
folder that its code would make.
"""

from __future__ import annotations

import compileall
import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pyarrow as pa
import pytest
import skops.io
import torch
import yaml
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from conftest import sample
from nocturne.engine import score
from nocturne.errors import ModelError, RegistryUnavailable
from nocturne.model.registry import Resolved, resolve
from nocturne.model.tracking import connect, experiment_id
from nocturne.worker.scoring import BACKENDS

ROWS = sample(8).drop_null()
FRAME = ROWS.select(["x", "y"]).to_pandas()
Edit = Callable[[Path, Path], None]
"""Changes a model's folder into one that would make the mark."""


class Call:
    """Pickles as a call: unpickling it makes the mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


class Registry:
    """A database with a torch and a scikit-learn model, whose changed copies are registered."""

    def __init__(self, root: Path, database: Path) -> None:
        self.root, self.uri = root, f"sqlite:///{root / 'mlflow.db'}"
        shutil.copy(database, root)
        self.client = connect(self.uri)
        mlflow.set_experiment(experiment_id=experiment_id(self.client, "hostile"))
        plain = mlflow.sklearn.log_model(
            LogisticRegression().fit(FRAME, FRAME.x > FRAME.y),
            name="plain",
            serialization_format="skops",
            pip_requirements=[],
            signature=mlflow.models.infer_signature(FRAME, np.zeros(len(FRAME))),
        )
        graph = self.client.get_model_version("small", "1")
        self.folders = {
            "plain": Path(mlflow.artifacts.download_artifacts(plain.model_uri)),
            "graph": Path(mlflow.artifacts.download_artifacts(f"models:/small/{graph.version}")),
        }

    def register(self, of: str, edit: Edit, mark: Path) -> str:
        """A new model, the changed copy of one; its name."""
        name = f"{of}-{mark.parent.name}"
        folder = self.root / name
        shutil.copytree(self.folders[of], folder)
        edit(folder, mark)
        self.client.create_registered_model(name)
        self.client.create_model_version(name, folder.as_uri())
        return name

    def resolve(self, name: str, store: Path, **options: bool) -> Resolved:
        return resolve(
            name=name,
            alias=None,
            tags=None,
            version=1,
            tracking_uri=self.uri,
            models=store,
            **{"allow_pickle": False, **options},
        )

    def score(self, name: str, store: Path, **options: bool) -> pa.RecordBatch:
        """Resolves, loads and calls the model as a worker does."""
        found = self.resolve(name, store, **options)
        model = BACKENDS[found.ref.backend](found.ref.path, found.encoding, device="cpu")
        [scores] = score(ROWS.to_batches(), model, found.encoding)
        return scores


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, registry: Path) -> Registry:
    return Registry(tmp_path_factory.mktemp("hostile"), registry / "mlflow.db")


def _edited(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    said = yaml.safe_load((folder / "MLmodel").read_text())
    change(said)
    (folder / "MLmodel").write_text(yaml.safe_dump(said))


def _loader(folder: Path, **conf: object) -> None:
    _edited(folder, lambda said: said["flavors"]["python_function"].update(conf))


def _source(folder: Path, mark: Path, where: str) -> Path:
    path = folder / where / "attacker.py"
    path.parent.mkdir(parents=True)
    path.write_text(f"import os\nos.mkdir({str(mark)!r})\ndef _load_pyfunc(path): return None\n")
    return path


# -- through mlflow.pyfunc ----------------------------------------------------------------------


def _pickle(protocol: int, file: str, **flavor: object) -> Edit:
    def edit(folder: Path, mark: Path) -> None:
        (folder / "model.skops").unlink()
        (folder / file).write_bytes(pickle.dumps(Call(mark), protocol))
        _loader(folder, model_path=file)
        _edited(folder, lambda said: said["flavors"]["sklearn"].update(flavor))

    return edit


def _compiled(folder: Path, mark: Path) -> None:
    source = _source(folder, mark, "code")
    compileall.compile_file(str(source), legacy=True, quiet=1)
    source.unlink()
    _loader(folder, loader_module="attacker", code="code")


def _zipped(folder: Path, mark: Path) -> None:
    source = _source(folder, mark, "code")
    with zipfile.ZipFile(folder / "notes.json", "w") as archive:
        archive.write(source, "attacker.py")
    shutil.rmtree(folder / "code")
    _loader(folder, loader_module="attacker", code="notes.json")


def _other_loader(folder: Path, mark: Path) -> None:
    """Modules of MLflow itself that run what they find."""
    (folder / "python_model.json").write_bytes(pickle.dumps(Call(mark), 0))
    _loader(
        folder,
        loader_module="mlflow.pyfunc.model",
        python_model="python_model.json",
        cloudpickle_version="3",
    )


def _skops_with_its_own_list(folder: Path, mark: Path) -> None:
    fitted = make_pipeline(FunctionTransformer(), LogisticRegression()).fit(FRAME, FRAME.x > 0)
    fitted[0].func = partial(os.makedirs, str(mark), 0o777)
    skops.io.dump(fitted, folder / "model.skops")
    types = skops.io.get_untrusted_types(file=folder / "model.skops")
    _edited(folder, lambda said: said["flavors"]["sklearn"].update(skops_trusted_types=types))


def _second_mlmodel(folder: Path, mark: Path) -> None:
    """MLflow asks the MLmodel beside the file how to read it."""
    inner = folder / "metadata"
    inner.mkdir()
    shutil.copy(folder / "MLmodel", inner)
    _edited(inner, lambda said: said["flavors"]["sklearn"].update(serialization_format="pickle"))
    (inner / "requirements.txt").write_bytes(pickle.dumps(Call(mark), 0))
    _loader(folder, data="metadata/requirements.txt", model_path=None)


def _class_of_another_library(folder: Path, mark: Path) -> None:
    """MLflow imports the class that the XGBoost flavor names."""
    source = _source(folder, mark, "code")
    (folder / "model.skops").rename(folder / "model.json")
    _edited(
        folder,
        lambda said: said["flavors"].update(
            xgboost={"data": "model.json", "model_class": f"{source.stem}.Any", "code": "code"}
        ),
    )
    _loader(folder, loader_module="mlflow.xgboost", data="model.json", model_path=None)


def _python_tag(folder: Path, mark: Path) -> None:
    with open(folder / "MLmodel", "a") as file:
        file.write(f"metadata: !!python/object/apply:os.mkdir [{mark}]\n")


PYFUNC: dict[str, tuple[Edit, str]] = {
    "a pickle of protocol 0 by another name": (
        _pickle(0, "model.skops", serialization_format="pickle"),
        "model.skops: .* is a pickle",
    ),
    "a pickle of protocol 1 by another name": (
        _pickle(1, "weights", serialization_format="cloudpickle"),
        "weights: .* is a pickle",
    ),
    "a pickle that is called a skops file": (
        _pickle(0, "model.skops"),
        "model.skops: it is not a skops file",
    ),
    "a pickle that is called a file of metadata": (
        _pickle(1, "input_example.json", serialization_format="pickle"),
        "names input_example",
    ),
    "compiled Python in code/": (_compiled, r"MLmodel: .*'attacker'.*code/attacker\.pyc: Python"),
    "a zip of code": (_zipped, "MLmodel: .*'attacker'.*notes.json: not a file of data"),
    "a loader of MLflow that unpickles": (_other_loader, "mlflow.pyfunc.model"),
    "skops with a list of its own": (
        _skops_with_its_own_list,
        "not on Nocturne's list: functools.partial, os.makedirs",
    ),
    "a second MLmodel": (_second_mlmodel, "names metadata/requirements.txt as its data"),
    "a class to import": (_class_of_another_library, "model_class is attacker.Any"),
    "a Python tag in MLmodel": (_python_tag, "python/object/apply"),
}


@pytest.mark.parametrize("name", PYFUNC)
def test_code_in_a_model_is_refused_by_name(models: Registry, tmp_path: Path, name: str) -> None:
    edit, why = PYFUNC[name]
    mark = tmp_path / "mark"
    with pytest.raises(ModelError, match=why):
        models.score(models.register("plain", edit, mark), tmp_path / "store")
    assert not mark.exists()


def test_the_same_is_code_indeed_where_it_is_allowed(models: Registry, tmp_path: Path) -> None:
    """So that the mark of these tests says something."""
    mark = tmp_path / "mark"
    edit = _pickle(0, "model.skops", serialization_format="pickle")
    models.score(models.register("plain", edit, mark), tmp_path / "store", allow_pickle=True)
    assert mark.exists()


# -- pt2 ----------------------------------------------------------------------------------------


def rewritten(folder: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    """The pt2 file of a folder with other entries."""
    path = folder / "data" / "model.pt2"
    with zipfile.ZipFile(path) as archive:
        entries = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(f"model/{name}", content)


def _json(entry: str, change: Callable[[Any, Path], None]) -> Edit:
    """Changes a JSON entry of the archive."""

    def edit(folder: Path, mark: Path) -> None:
        def into(entries: dict[str, bytes]) -> None:
            content = json.loads(entries[entry])
            change(content, mark)
            entries[entry] = json.dumps(content).encode()

        rewritten(folder, into)

    return edit


def _program(change: Callable[[Any, str], None]) -> Edit:
    """Changes the graph; what is to be called is Python that makes the mark."""
    return _json(
        "models/model.json",
        lambda content, mark: change(
            content["graph_module"], f"__import__('os').mkdir({str(mark)!r})"
        ),
    )


def _entry(name: str, content: Callable[[Path], bytes]) -> Edit:
    return lambda folder, mark: rewritten(folder, lambda e: e.update({name: content(mark)}))


def _torch_pickle(mark: Path) -> bytes:
    made = io.BytesIO()
    torch.save(Call(mark), made)
    return made.getvalue()


def _pickled_weight(content: Callable[[Path], bytes] = _torch_pickle) -> Edit:
    def edit(folder: Path, mark: Path) -> None:
        said = {"path_name": "weight_99", "use_pickle": True}
        _json(
            "data/weights/model_weights_config.json",
            lambda config, _: config["config"]["dense.weight"].update(said),
        )(folder, mark)
        _entry("data/weights/weight_99", content)(folder, mark)

    return edit


def _pickled_constant(prefix: str) -> Edit:
    def edit(folder: Path, mark: Path) -> None:
        payload = {
            "path_name": f"{prefix}0",
            "is_param": False,
            "use_pickle": True,
            "tensor_meta": None,
        }
        _json(
            "data/constants/model_constants_config.json",
            lambda content, _: content["config"].update(c=payload),
        )(folder, mark)
        _entry(f"data/constants/{prefix}0", lambda m: pickle.dumps(Call(m)))(folder, mark)

    return edit


def _call(target: str, *strings: str) -> Edit:
    """A node that calls a function of torch with texts."""

    def add(module: Any, mark: Path) -> None:
        inputs = [
            {"name": "", "arg": {"as_string": text.format(mark=mark)}, "kind": 1}
            for text in strings
        ]
        module["graph_module"]["graph"]["nodes"].insert(
            0,
            {
                "target": target,
                "inputs": inputs,
                "outputs": [{"as_none": True}],
                "metadata": {},
                "name": "call",
                "is_hop_single_tensor_return": None,
            },
        )

    return _json("models/model.json", add)


def _mapped_file(module: Any, mark: Path) -> None:
    """aten::from_file makes a file of any name."""
    arguments = {
        "filename": {"as_string": str(mark)},
        "shared": {"as_bool": True},
        "size": {"as_int": 1},
    }
    graph = module["graph_module"]["graph"]
    graph["nodes"].insert(
        0,
        {
            "target": "torch.ops.aten.from_file.default",
            "name": "mapped",
            "metadata": {},
            "inputs": [{"name": name, "arg": arg, "kind": 1} for name, arg in arguments.items()],
            "outputs": [{"as_tensor": {"name": "mapped"}}],
        },
    )
    graph["tensor_values"]["mapped"] = next(iter(graph["tensor_values"].values()))


def _expression(module: Any, code: str) -> None:
    for meta in module["graph"]["tensor_values"].values():
        for size in meta["sizes"]:
            if "as_expr" in size:
                size["as_expr"]["expr_str"] = code


def _endless(module: Any, _: str) -> None:
    _expression(module, "Pow(Integer(9), Pow(Integer(9), Integer(9)))")


PT2: dict[str, tuple[Edit, str]] = {
    "a weight that is a pickle": (_pickled_weight(), "a pickle in place of the tensor 'dense"),
    "a constant that is a pickle": (_pickled_constant("tensor_"), "a pickle in place of"),
    "an object that is a pickle": (_pickled_constant("opaque_obj_"), "entries that are no tensors"),
    "an object of TorchScript": (_pickled_constant("custom_obj_"), "entries that are no tensors"),
    "a compiled library": (
        _entry("data/aotinductor/model/model.so", lambda _: b"\x7fELF"),
        "model.so",
    ),
    "weights as older versions pickled them": (
        _entry("data/weights/model.pt", _torch_pickle),
        "data/weights/model.pt",
    ),
    "an expression that is a call": (_program(_expression), "which is no arithmetic"),
    "an expression without end": (_program(_endless), "which is no arithmetic"),
    "a call of another function": (_call("torch.os.mkdir", "{mark}"), "a call of torch.os.mkdir"),
    "an operator that loads a library": (
        _call("torch.ops.load_library", "{mark}.so"),
        "a call of torch.ops.load_library",
    ),
    "an operator that makes files": (
        _json("models/model.json", _mapped_file),
        "a call of torch.ops.aten.from_file",
    ),
}


@pytest.mark.parametrize("name", PT2)
def test_code_in_a_pt2_file_is_refused_by_name(models: Registry, tmp_path: Path, name: str) -> None:
    edit, why = PT2[name]
    mark = tmp_path / "mark"
    with pytest.raises(ModelError, match=f"data/model.pt2: .*{why}"):
        models.score(models.register("graph", edit, mark), tmp_path / "store")
    assert not mark.exists()


def _names(module: Any, code: str) -> None:
    """torch writes the names of arguments into the source that it makes."""
    call = module["module_call_graph"][0]["signature"]
    call["forward_arg_names"] = [f"x={code}"]
    text = json.dumps(module)
    taken = module["signature"]["input_specs"][-1]["user_input"]["arg"]["as_tensor"]["name"]
    module.update(json.loads(text.replace(json.dumps(taken), json.dumps(f"x={code}"))))


def _guards(content: Any, mark: Path) -> None:
    content["guards_code"] = [f"__import__('os').mkdir({str(mark)!r})"]


NEVER_READ: dict[str, Edit] = {
    "sample inputs that are a pickle": _entry("data/sample_inputs/model.pt", _torch_pickle),
    "names that are Python": _program(_names),
    "guards that are Python": _json("models/model.json", _guards),
}


@pytest.mark.parametrize("name", NEVER_READ)
def test_what_is_not_needed_is_never_read(models: Registry, tmp_path: Path, name: str) -> None:
    mark = tmp_path / "mark"
    hostile = models.register("graph", NEVER_READ[name], mark)
    scores = models.score(hostile, tmp_path / "store")
    assert scores["score"].null_count == 0
    assert not mark.exists()


def test_a_pt2_file_with_pickles_is_read_by_torch_where_it_is_allowed(
    models: Registry, tmp_path: Path
) -> None:
    """A weight that torch pickles (a tensor subclass, say) is not lost to who trusts its maker."""

    made = io.BytesIO()
    torch.save(torch.nn.Parameter(torch.zeros(1, 4)), made)
    edit = _pickled_weight(lambda _: made.getvalue())
    name = models.register("graph", edit, tmp_path / "mark")
    with pytest.raises(ModelError, match="a pickle in place of the tensor 'dense.weight'"):
        models.resolve(name, tmp_path / "store")
    scores = models.score(name, tmp_path / "store", allow_pickle=True)
    assert len(set(scores["score"].to_pylist())) == 1, "all weights of the last layer are 0 now"
    assert (
        models.resolve(name, tmp_path / "store", allow_pickle=True).ref.backend == "torch_pickled"
    )


@pytest.mark.parametrize("name", ["plain", "graph"])
def test_the_models_that_these_were_made_from_are_taken(
    models: Registry, tmp_path: Path, name: str
) -> None:
    same = models.register(name, lambda folder, _: None, tmp_path / "mark")
    scores = models.score(same, tmp_path / "store")
    assert scores.num_rows - scores[-1].null_count == 0


# -- the folder itself --------------------------------------------------------------------------

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{c}: &{c} [{', '.join([f'*{b}'] * 10)}]\n" for b, c in pairwise("abcdefgh")
)


def _said(text: str | bytes) -> Edit:
    content = text.encode() if isinstance(text, str) else text
    return lambda folder, _: (folder / "MLmodel").write_bytes(content) and None


def _missing(folder: Path, _: Path) -> None:
    (folder / "MLmodel").unlink()


def _folder(folder: Path, _: Path) -> None:
    (folder / "MLmodel").unlink()
    (folder / "MLmodel").mkdir()
    (folder / "MLmodel" / "flavors").write_text("")


def _link(name: str, to: str) -> Edit:
    return lambda folder, _: (folder / name).symlink_to(to)


def _pipe(folder: Path, _: Path) -> None:
    os.mkfifo(folder / "notes.txt")


FOLDERS: dict[str, tuple[Edit, str]] = {
    "no MLmodel": (_missing, "has no MLmodel file"),
    "a folder called MLmodel": (_folder, "has no MLmodel file"),
    "an empty MLmodel": (_said(""), "MLmodel file of model plain-.* is empty"),
    "an MLmodel that is no YAML": (_said("flavors: [}"), "is not YAML that can be read"),
    "an MLmodel of bytes": (_said(b"\x80\x04\xff"), "is not UTF-8 text"),
    "an MLmodel that is a list": (_said("- flavors"), "got a list"),
    "an MLmodel without flavors": (_said("model_id: m-1"), "no `flavors:`"),
    "an MLmodel whose flavors are a text": (_said("flavors: {sklearn: x}"), "no `flavors:`"),
    "an alias bomb": (_said(f"{BOMB}flavors: {{}}"), "stands for more than 200,000 values"),
    "a signature that is no JSON": (
        lambda folder, _: _edited(folder, lambda said: said["signature"].update(inputs="[{")),
        "the signature in its MLmodel file can't be read",
    ),
    "a link out of it": (_link("input_example.json", "/etc/hostname"), "has a link, input_example"),
    "a link to nothing": (_link("conda.yaml2", "gone"), "has a link, conda.yaml2 -> gone"),
    "a link to its own folder": (_link("again", "."), "has a link, again -> ."),
    "a pipe": (_pipe, "notes.txt is neither a file nor a folder"),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_is_no_models_is_an_error_of_ours(
    models: Registry, tmp_path: Path, name: str
) -> None:
    edit, why = FOLDERS[name]
    hostile = models.register("plain", edit, tmp_path / "mark")
    with pytest.raises(ModelError, match=why):
        models.score(hostile, tmp_path / "store")
    assert not list((tmp_path / "store").glob(".*")), "nothing half copied stays"


def test_a_link_within_the_folder_is_the_file_that_it_leads_to(
    models: Registry, tmp_path: Path
) -> None:
    def linked(folder: Path, _: Path) -> None:
        (folder / "metadata").mkdir()
        (folder / "metadata" / "MLmodel").symlink_to("../MLmodel")

    name = models.register("plain", linked, tmp_path / "mark")
    found = models.resolve(name, tmp_path / "store").ref
    copied = Path(found.path, "metadata", "MLmodel")
    assert not copied.is_symlink()
    assert copied.read_bytes() == Path(found.path, "MLmodel").read_bytes()


def test_a_file_that_the_artifact_store_lost_may_come_back(
    models: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow's copy fails in a thread of its own; that is an error which is worth a retry."""
    name = models.register("plain", lambda folder, _: None, tmp_path / "mark")
    (models.root / name / "model.skops").chmod(0)
    if os.access(models.root / name / "model.skops", os.R_OK):  # for root, who reads all
        from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

        def lost(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied", "model.skops")

        monkeypatch.setattr(LocalArtifactRepository, "_download_file", lost)
    with pytest.raises(RegistryUnavailable, match="the files of model plain-.* can't be copied"):
        models.resolve(name, tmp_path / "store")
