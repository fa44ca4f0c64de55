"""The training side of the model contract: what a training script logs with its model.

A night needs three parts of a model: its weights, its encoding spec (which columns become which
tensors), and its baseline (a profile of the training data and of the model's scores on them).
For a torch module, one call logs all of them::

    encoding = infer_encoding(table, numeric=["age"], categories=["city"], outputs=["score"])
    use_project("churn-training")                  # the MLflow of the project
    numbers, codes = tensors(table, encoding)      # train on these: a night makes the same
    ...
    log_torch_model(module, encoding, table, name="churn", partitions=days,
                    registered_model_name="churn", alias="champion")

A model of any other flavor can have a baseline too::

    info = mlflow.sklearn.log_model(pipeline, name="churn", signature=signature)
    register(info, "churn", alias="champion", baseline=baseline(table, predictions))

All of these functions use MLflow's current tracking URI and registry.
"""

from nocturne.contract.baseline import baseline, predict
from nocturne.contract.encodings import infer_encoding, tensors
from nocturne.contract.handed_in import LoggedModel
from nocturne.contract.log import log_torch_model
from nocturne.contract.project import use_project
from nocturne.contract.versions import register
from nocturne.encoding import Encoding, Feature, OutputSpec, TensorSpec

__all__ = [
    "Encoding",
    "Feature",
    "LoggedModel",
    "OutputSpec",
    "TensorSpec",
    "baseline",
    "infer_encoding",
    "log_torch_model",
    "predict",
    "register",
    "tensors",
    "use_project",
]
