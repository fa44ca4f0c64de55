"""The engine room: encoding and inference over RecordBatches. Knows no Spark, no MLflow.

``score`` takes RecordBatches and a model, and gives predictions. Its parts, one a file:

    cast        values as the types that the model takes; what can't be is told apart
    encode      columns -> arrays, one encoder a function
    refused     rows that hold what a model has no value for
    program     a model's graph and the order of its arguments; ``pt2`` reads it from a file of
                torch.export, ``exported`` lets torch do so
    kernels     ways to run that graph; ``search`` measures which is fastest, and the
                micro-batch, as ``search_plan`` says
    torch_model, device_model, lane     running it on a CPU, on a GPU
    faults      what a model's exceptions come to: a row's reason, or the end
    post, convert, column, outputs      outputs -> Arrow columns, with reasons for bad rows
    settle                              what a trial of a model fixes of its outputs
    ahead       a step in a thread of its own, behind a bounded queue
"""

from nocturne.engine.ahead import ahead
from nocturne.engine.cast import cast_rows
from nocturne.engine.device_model import DeviceModel
from nocturne.engine.encode import encode
from nocturne.engine.kernels import KERNELS, PRECISIONS
from nocturne.engine.load import load_torch, load_trusted, pick_device
from nocturne.engine.model import AsyncModel, Model
from nocturne.engine.outputs import REASON, Named, named, predictions, together
from nocturne.engine.score import score, score_cast
from nocturne.engine.search import SAMPLE_ROWS, first_sizes, search
from nocturne.engine.search_plan import SearchPlan, search_plan
from nocturne.engine.settle import required, settled
from nocturne.engine.torch_model import TorchModel

__all__ = [
    "KERNELS",
    "PRECISIONS",
    "REASON",
    "SAMPLE_ROWS",
    "AsyncModel",
    "DeviceModel",
    "Model",
    "Named",
    "SearchPlan",
    "TorchModel",
    "ahead",
    "cast_rows",
    "encode",
    "first_sizes",
    "load_torch",
    "load_trusted",
    "named",
    "pick_device",
    "predictions",
    "required",
    "score",
    "score_cast",
    "search",
    "search_plan",
    "settled",
    "together",
]
