"""The engine room: encoding and inference over RecordBatches. Knows no Spark, no MLflow.

``score`` takes RecordBatches and a model, and gives predictions. Its parts, one a file:

    cast        casts values to the types that the model takes; a value that can't be gets a reason
    encode      columns -> arrays, one encoder a function
    refused     reasons for rows that contain a value that the model can't take
    program     a model's graph and the order of its arguments; ``pt2`` reads it from a file of
                torch.export, ``exported`` lets torch do so
    kernels     ways to run that graph; ``search`` measures which is fastest, and the
                micro-batch, as ``search_plan`` says
    torch_model, device_model, lane     running it on a CPU, on a GPU
    faults      turns a model's exceptions into the reason of a row, or into an error
    convert, column, outputs            outputs -> Arrow columns, with reasons for bad rows
    settle                              fixes the outputs of a model by a trial of it
    alone                               checks that a row's outputs do not depend on other rows
    prefetch    runs an iterator in a thread of its own, behind a bounded queue
"""

from nocturne.engine.alone import require_rows_alone
from nocturne.engine.cast import cast_rows
from nocturne.engine.device_model import DeviceModel
from nocturne.engine.encode import Encode, EncodedOnce, encode, encoder
from nocturne.engine.kernels import KERNELS, PRECISIONS
from nocturne.engine.load import load_torch, load_trusted, pick_device
from nocturne.engine.model import AsyncModel, Model
from nocturne.engine.outputs import REASON, NamedOutputs, concatenated, outputs_by_name, predictions
from nocturne.engine.prefetch import prefetch
from nocturne.engine.score import score, score_cast
from nocturne.engine.search import SAMPLE_ROWS, first_sizes, search
from nocturne.engine.search_plan import SearchPlan, search_plan
from nocturne.engine.settle import check_outputs, settle_outputs
from nocturne.engine.torch_model import TorchModel

__all__ = [
    "KERNELS",
    "PRECISIONS",
    "REASON",
    "SAMPLE_ROWS",
    "AsyncModel",
    "DeviceModel",
    "Encode",
    "EncodedOnce",
    "Model",
    "NamedOutputs",
    "SearchPlan",
    "TorchModel",
    "cast_rows",
    "check_outputs",
    "concatenated",
    "encode",
    "encoder",
    "first_sizes",
    "load_torch",
    "load_trusted",
    "outputs_by_name",
    "pick_device",
    "predictions",
    "prefetch",
    "require_rows_alone",
    "score",
    "score_cast",
    "search",
    "search_plan",
    "settle_outputs",
]
