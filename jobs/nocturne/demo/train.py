"""Training the demo's model on January to March, and registering it.

Whatever this code chooses (how many epochs, how strongly the logistic regression is
regularised) it chooses on March, with a model that saw January and February only; then both
are fitted to all three months, and April serves for the two numbers that are printed. The
model's design was tried out by hand, with April in view.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import OneHotEncoder
from torch import nn

from nocturne import contract
from nocturne.demo import flights as tables
from nocturne.demo.model import FlightDelay
from nocturne.drift import BASELINE_VERSION
from nocturne.encoding import Encoding, OutputSpec
from nocturne.files import digest, file_digest
from nocturne.tracking import connect, experiment_id, reachable

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

__all__ = ["ALIAS", "EXPERIMENT", "MODEL", "Champion", "Trained", "champion", "recipe", "train"]

MODEL = "flight_delay"
ALIAS = "champion"
EXPERIMENT = "flight_delay-training"

TRAINING = ("2013-01-01", "2013-03-31")
MARCH = "2013-03-01"
APRIL = ("2013-04-01", "2013-04-30")

# Left out: temperature, dew point, pressure and wind direction, which follow the season, so
# that a model of the winter misreads them in spring. A logistic regression trained on the
# months before had a mean AUC on February and March of .665 with them, of .671 without.
SCHEDULE = ("distance", "sched_dep_time", "sched_arr_time", "minute")
WEATHER = ("humid", "wind_speed", "wind_gust", "precip", "visib")
CATEGORIES = ("carrier", "origin", "dest", "weekday", "hour")


@dataclass(frozen=True)
class Settings:
    """Of the training; part of the recipe."""

    seed: int = 2013
    epochs: int = 15
    batch: int = 512
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    hidden_codes: float = 0.01
    penalties: tuple[float, ...] = (1.0, 0.1, 0.01)


SETTINGS = Settings()


@dataclass(frozen=True)
class Trained:
    """The fitted model and how it did. ``auc`` has "march" and "april", as has ``logistic``."""

    module: FlightDelay
    encoding: Encoding
    data: pa.Table
    epochs: int
    auc: dict[str, float]
    logistic: dict[str, float]


@dataclass(frozen=True)
class Champion:
    """The registered version; ``made`` says whether this call trained it."""

    version: int
    auc_april: float
    logistic_april: float
    made: bool


class Examples:
    """Flights that arrived, encoded: tensors ``x`` and whether each was late, ``y`` [rows]."""

    def __init__(self, table: pa.Table, encoding: Encoding) -> None:
        self.x = contract.tensors(table, encoding)
        self.y = torch.tensor(table["late"].cast(pa.float32()).to_numpy())

    def one_hot(self, encoder: OneHotEncoder) -> sparse.csr_array:
        numbers, codes = (x.numpy() for x in self.x)
        return sparse.csr_array(sparse.hstack([numbers, encoder.transform(codes)]))


def load(folder: Path, first: str, last: str) -> pa.Table:
    """Flights that arrived, from ``first`` to ``last``, with ``ds`` and ``late``."""
    known = tables.read_days(folder / "flights", first, last)
    labels = tables.read_days(folder / "labels", first, last)
    if not known.select(tables.KEYS).equals(labels.select(tables.KEYS)):
        labels = known.select(tables.KEYS).join(labels, list(tables.KEYS))
    table = known.append_column("late", labels["late"])
    return table.filter(pc.is_valid(table["late"]))


def learn_encoding(table: pa.Table) -> Encoding:
    return contract.infer_encoding(
        table,
        numeric=[*SCHEDULE, *WEATHER],
        categories=CATEGORIES,
        outputs=[OutputSpec("late_probability", post="sigmoid")],
    )


def fit(table: pa.Table, epochs: int, watch: pa.Table | None = None) -> tuple[
    FlightDelay, Encoding, list[float]
]:  # fmt: skip
    """A model of ``table``; with ``watch``, its AUC there after each epoch."""
    encoding = learn_encoding(table)
    sizes = [feature.unknown + 1 for feature in encoding.inputs[1].features]
    examples = Examples(table, encoding)
    watched = None if watch is None else Examples(watch, encoding)
    unknown = torch.tensor([size - 1 for size in sizes])
    torch.manual_seed(SETTINGS.seed)
    module = FlightDelay(len(SCHEDULE) + len(WEATHER), len(SCHEDULE), sizes)
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=SETTINGS.learning_rate, weight_decay=SETTINGS.weight_decay
    )
    aucs = []
    for _ in range(epochs):
        module.train()
        for rows in torch.randperm(len(examples.y)).split(SETTINGS.batch):
            numbers, codes = (x[rows] for x in examples.x)
            # A few codes are hidden, so that "unknown" means something when it comes.
            hide = torch.rand(codes.shape) < SETTINGS.hidden_codes
            logits = module(numbers, torch.where(hide, unknown, codes))
            loss = nn.functional.binary_cross_entropy_with_logits(logits, examples.y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if watched is not None:
            aucs.append(auc(module, watched))
    return module.eval(), encoding, aucs


def auc(module: FlightDelay, examples: Examples) -> float:
    module.eval()
    with torch.inference_mode():
        return float(roc_auc_score(examples.y.numpy(), module(*examples.x).numpy()))


def logistic_auc(table: pa.Table, watch: pa.Table, penalty: float) -> float:
    """AUC on ``watch`` of a logistic regression of the same features, codes one-hot."""
    encoding = learn_encoding(table)
    examples, watched = Examples(table, encoding), Examples(watch, encoding)
    encoder = OneHotEncoder(handle_unknown="ignore")
    encoder.fit(examples.x[1].numpy())
    model = LogisticRegression(C=penalty, max_iter=1000)
    model.fit(examples.one_hot(encoder), examples.y.numpy())
    scores = model.decision_function(watched.one_hot(encoder))
    return float(roc_auc_score(watched.y.numpy(), scores))


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums in one order: the same seed gives the same model, whatever else runs here."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train(folder: Path) -> Trained:
    """Fit the model and the logistic regression to the tables below ``folder``."""
    months = load(folder, *TRAINING)
    april = load(folder, *APRIL)
    is_march = pc.greater_equal(months["ds"], MARCH)
    winter, march = months.filter(pc.invert(is_march)), months.filter(is_march)
    with one_thread():
        _, _, curve = fit(winter, SETTINGS.epochs, march)
        epochs = int(np.argmax(curve)) + 1
        module, encoding, _ = fit(months, epochs)
        rivals = {c: logistic_auc(winter, march, c) for c in SETTINGS.penalties}
        penalty = max(rivals, key=lambda c: rivals[c])
        return Trained(
            module=module,
            encoding=encoding,
            data=months,
            epochs=epochs,
            auc={"march": curve[epochs - 1], "april": auc(module, Examples(april, encoding))},
            logistic={"march": rivals[penalty], "april": logistic_auc(months, april, penalty)},
        )


def recipe() -> str:
    """A digest of all that makes the model: these files, the data, torch, the baseline."""
    here = Path(__file__).parent
    code = [file_digest(here / name) for name in ("train.py", "model.py")]
    return digest(code, tables.VERSION, torch.__version__, BASELINE_VERSION)[:16]


def champion(folder: Path, tracking_uri: str) -> Champion:
    """The demo's registered model: trained now, unless this recipe's version is there.

    An alias that someone moved to another version stays where it is.
    """
    client = connect(tracking_uri)
    with reachable(tracking_uri), _quiet_mlflow():
        found = _registered(client)
        if found is None:
            return _register(client, train(folder))
        aliases = client.get_registered_model(MODEL).aliases
        if ALIAS not in aliases:
            client.set_registered_model_alias(MODEL, ALIAS, found.version)
        return Champion(
            version=int(found.version),
            auc_april=float(found.tags["auc_april"]),
            logistic_april=float(found.tags["auc_april_logistic"]),
            made=False,
        )


def _registered(client: MlflowClient) -> ModelVersion | None:
    wanted = f"name = '{MODEL}' and tags.recipe = '{recipe()}'"
    found = [v for v in client.search_model_versions(wanted) if v.status == "READY"]
    return max(found, key=lambda v: int(v.version), default=None)


def _register(client: MlflowClient, trained: Trained) -> Champion:
    import mlflow

    experiment = experiment_id(client, EXPERIMENT)
    with mlflow.start_run(experiment_id=experiment, run_name=f"{MODEL} {recipe()}"):
        mlflow.log_params({**asdict(SETTINGS), "epochs": trained.epochs})
        mlflow.log_metrics(
            {f"auc_{month}": value for month, value in trained.auc.items()}
            | {f"auc_{month}_logistic": value for month, value in trained.logistic.items()}
        )
        logged = contract.log_torch_model(
            trained.module,
            trained.encoding,
            trained.data,
            name=MODEL,
            partitions=trained.data["ds"],
            registered_model_name=MODEL,
            alias=ALIAS,
            tags={
                "stage": "production",
                "recipe": recipe(),
                "auc_april": f"{trained.auc['april']:.4f}",
                "auc_april_logistic": f"{trained.logistic['april']:.4f}",
            },
        )
    return Champion(
        version=logged.version or 0,
        auc_april=trained.auc["april"],
        logistic_april=trained.logistic["april"],
        made=True,
    )


@contextmanager
def _quiet_mlflow() -> Iterator[None]:
    """Hides MLflow's progress notes; its warnings stay."""
    logger = logging.getLogger("mlflow")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            yield
    finally:
        logger.setLevel(before)
