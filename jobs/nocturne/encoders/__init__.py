"""The encoders, by name in ``ENCODERS``: they convert columns to the tensors that a model takes.

An encoder is one file: what it accepts, how its columns are profiled, what it checks in its spec,
which rows it refuses, and the computation (``nocturne.encoders.base``). To add one, write its file
and its line here. Nothing here needs torch, so that a night is prepared without it.
"""

from nocturne.encoders.base import Encoded, Encoder
from nocturne.encoders.category import Category
from nocturne.encoders.date import Date
from nocturne.encoders.frame import Frame
from nocturne.encoders.lists import List, Mask
from nocturne.encoders.numeric import Numeric
from nocturne.encoders.text import Text

__all__ = ["ENCODERS", "Encoded", "Encoder"]

ENCODERS: dict[str, Encoder] = {
    "numeric": Numeric(),
    "category": Category(),
    "date": Date(),
    "list": List(),
    "mask": Mask(),
    "text": Text(),
    "frame": Frame(),
}
