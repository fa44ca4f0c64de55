"""The engine room: encoding and inference over RecordBatches. Knows no Spark, no MLflow."""

from nocturne.engine.ahead import ahead
from nocturne.engine.encode import ENCODERS, encode
from nocturne.engine.model import Model, TorchModel, load_torch, pick_device
from nocturne.engine.score import POST, REASON, score

__all__ = [
    "ENCODERS",
    "POST",
    "REASON",
    "Model",
    "TorchModel",
    "ahead",
    "encode",
    "load_torch",
    "pick_device",
    "score",
]
