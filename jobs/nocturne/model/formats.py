"""Model files that are data: for each loader of MLflow, the format that its file must have.

A loader is listed here if, with such a file and configuration, it neither unpickles nor imports
anything that the artifact names (according to the source of MLflow 3.17). The content of the file
is checked, not its name, since the name does not decide how a loader reads the file. The loaders of
XGBoost, LightGBM, CatBoost and ONNX Runtime parse any file with their own parser, so a pickle is
an error there and runs no code; the first bytes are checked so that Nocturne reports this error.
Data is not harmless: a forged file may still attack these parsers, and its numbers are not checked.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["FORMATS", "Format"]

_Conf = Mapping[str, Any]


@dataclass(frozen=True)
class Format:
    """A flavor's section in MLmodel, the keys that may name its file, and the check of this file.

    ``check`` takes the file and the section; it returns the reason why they may run code, or None.
    """

    flavor: str
    keys: tuple[str, ...]
    check: Callable[[Path, _Conf], str | None]


def _skops(path: Path, conf: _Conf) -> str | None:
    """The types in the file are listed by skops and compared with Nocturne's list.

    MLflow passes the artifact's own list (``skops_trusted_types``) to skops, which then builds any
    type on it. A file whose types are all on Nocturne's list contains none of the others.
    """
    if conf.get("serialization_format") != "skops":
        stated = conf.get("serialization_format", "pickle")
        return f"its serialization_format is {stated!r}, which is a pickle"
    try:
        import skops.io  # type: ignore[import-untyped]
    except ImportError:
        return "skops is not installed here, so its types can't be listed"
    try:
        with zipfile.ZipFile(path) as archive:  # tables of numbers never compress that much
            if sum(entry.file_size for entry in archive.infolist()) > _bound(path):
                return "it is more than a hundred times larger when it is unpacked"
        strange = sorted(set(skops.io.get_untrusted_types(file=path)) - _TRUSTED)
    except Exception as error:  # a forged tree of types may raise anything
        return f"it is not a skops file that can be read ({type(error).__name__}: {error})"
    if strange:
        return f"it has types that are not on Nocturne's list: {', '.join(strange)}"
    return None


def _bound(path: Path) -> int:
    return 100 * path.stat().st_size + (64 << 20)


def _xgboost(path: Path, conf: _Conf) -> str | None:
    model_class = str(conf.get("model_class", "xgboost.core.Booster"))
    if model_class != "xgboost.core.Booster" and not model_class.startswith("xgboost.sklearn.XGB"):
        return f"its model_class is {model_class}, expected one of XGBoost's (MLflow imports it)"
    return _begins(path, b"{", "JSON or UBJSON as XGBoost writes it")


def _lightgbm(path: Path, conf: _Conf) -> str | None:
    if conf.get("model_class", "lightgbm.basic.Booster") != "lightgbm.basic.Booster":
        return _skops(path, conf)
    return _begins(path, b"tree", "LightGBM's text")


def _catboost(path: Path, conf: _Conf) -> str | None:
    starts = {"cbm": b"CBM1", "json": b"{"}
    save_format = str(conf.get("save_format"))
    if save_format not in starts:
        return f"its save_format is {save_format}, expected cbm or json"
    return _begins(path, starts[save_format], f"CatBoost's {save_format}")


def _onnx(path: Path, conf: _Conf) -> str | None:
    providers = conf.get("providers") or []
    if isinstance(providers, str):
        providers = [providers]
    if not isinstance(providers, list) or not all(isinstance(p, str) for p in providers):
        return "its providers have options, which may name a library to load"
    options = conf.get("onnx_session_options") or {}
    if not isinstance(options, Mapping) or options.get("extra_session_config"):
        return "it has an extra_session_config, which may name a library to load"
    return _begins(path, b"\x08", "an ONNX model")


def _begins(path: Path, start: bytes, what: str) -> str | None:
    with open(path, "rb") as file:
        return None if file.read(len(start)) == start else f"it is not {what}"


FORMATS = {
    "mlflow.sklearn": Format("sklearn", ("model_path", "data"), _skops),
    "mlflow.xgboost": Format("xgboost", ("data",), _xgboost),
    "mlflow.lightgbm": Format("lightgbm", ("data",), _lightgbm),
    "mlflow.catboost": Format("catboost", ("data",), _catboost),
    "mlflow.onnx": Format("onnx", ("data",), _onnx),
}
"""``loader_module`` of the python_function flavor -> its format."""

_KERNELS = (
    "CompoundKernel",
    "ConstantKernel",
    "DotProduct",
    "ExpSineSquared",
    "Exponentiation",
    "Matern",
    "Product",
    "RBF",
    "RationalQuadratic",
    "Sum",
    "WhiteKernel",
)
_METRICS = ("Chebyshev", "Euclidean", "Haversine", "Manhattan", "Minkowski", "SEuclidean")
_SPLITTERS = (
    "GroupKFold",
    "KFold",
    "RepeatedKFold",
    "RepeatedStratifiedKFold",
    "ShuffleSplit",
    "StratifiedKFold",
    "StratifiedShuffleSplit",
    "TimeSeriesSplit",
)
_TRUSTED = {
    "collections.OrderedDict",
    "collections.defaultdict",
    "lightgbm.basic.Booster",  # its __setstate__ parses LightGBM's text
    *(f"lightgbm.sklearn.LGBM{name}" for name in ("Classifier", "Ranker", "Regressor")),
    "numpy.dtype",
    "numpy.mean",
    "scipy._lib.array_api_compat.numpy._aliases.asarray",
    "scipy.interpolate._bsplines.BSpline",
    "scipy.sparse._csc.csc_matrix",
    "scipy.sparse._csr.csr_matrix",
    "sklearn._loss.loss.HalfTweedieLoss",
    "sklearn._loss.loss.HalfTweedieLossIdentity",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.cluster._bisect_k_means._BisectingTree",
    "sklearn.cluster._kmeans._kmeans_single_lloyd",
    "sklearn.compose._column_transformer._RemainderColsList",
    "sklearn.compose._column_transformer.make_column_selector",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
    "sklearn.impute._iterative.IterativeImputer",  # experimental: skops may not know it
    "sklearn.impute._iterative._ImputerTriplet",
    "sklearn.metrics._scorer._PassthroughScorer",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
    *(f"sklearn.model_selection._split.{name}" for name in _SPLITTERS),
    *(f"sklearn.gaussian_process.kernels.{name}" for name in _KERNELS),
    *(
        f"sklearn.metrics._dist_metrics.{n}Distance{bits}"
        for n in _METRICS
        for bits in ("", 32, 64)
    ),
    *(
        f"sklearn.feature_selection._univariate_selection.{name}"
        for name in ("chi2", "f_classif", "f_regression", "r_regression")
    ),
    *(
        f"sklearn.feature_selection._mutual_info.mutual_info_{name}"
        for name in ("classif", "regression")
    ),
}
"""The types that estimators of scikit-learn and LightGBM contain, besides those that skops trusts.

skops does not trust trees, because a forged one can crash the process (its node numbers are not
checked). None of these types runs code: the functions compute on their arguments; the classes are
built without their ``__init__`` and call only what is on the list too. The list does not contain
``functools.partial``, nor scorers, which call a method of the estimator that the file names.
"""
