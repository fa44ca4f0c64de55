"""A model of torch operators as a flat graph: tensors in, tensors out, no checks between."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nocturne.errors import ModelError, choices

if TYPE_CHECKING:
    from torch.fx import GraphModule

__all__ = ["Program", "find_pt2", "may_write", "require_no_guards", "require_open_rows"]

_FEWEST = 2
"""torch's own lower bound of a dynamic dimension, which holds for any number."""
_MOST = 2**31 - 1
"""An upper bound from here on is some spelling of "any number"."""


_ROWS = r"[^=<>!%+*/]*\.size\(\)\[0\]"
_SAME_ROWS = re.compile(rf"{_ROWS} == {_ROWS}")
"""The guard that two arguments have as many rows, as ours have."""


@dataclass(frozen=True)
class Program:
    """A flat graph with the names and the order of its arguments and outputs.

    ``inputs`` has an entry for each argument: its name if it is passed by keyword or in a dict,
    else its position. ``outputs`` has names if the module returns a dict, else positions.
    ``arguments`` are the names that the module gives its arguments.
    """

    graph: GraphModule
    inputs: list[str | int]
    outputs: list[str | int]
    arguments: Sequence[str] = ()

    @property
    def output_names(self) -> list[str] | None:
        """Raises: ModelError if two outputs have the same name."""
        names = [output for output in self.outputs if isinstance(output, str)]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ModelError(
                f"the module returns more than one output called {choices(twice)}, in dicts within "
                "dicts; have it return one dict"
            )
        return names if names and len(names) == len(self.outputs) else None

    @property
    def writes(self) -> bool:
        """Whether an operator may write to a tensor, and so to an argument."""
        return any(
            node.op in ("call_module", "call_method")
            or (node.op == "call_function" and may_write(node.target))
            for node in self.graph.graph.nodes
        )

    def order(self, names: Sequence[str]) -> list[int]:
        """The position of each argument of the program among the tensors called ``names``.

        Keyword arguments take the tensor of their name; the others take the remaining tensors in
        order.

        Raises:
            ModelError: the spec has another number of tensors, lacks a name, or has the names of
                the arguments in another order.
        """
        if len(names) != len(self.inputs):
            raise ModelError(
                f"the model takes {len(self.inputs)} tensors, the encoding spec makes "
                f"{len(names)}: {', '.join(names)}"
            )
        lacking = [i for i in self.inputs if isinstance(i, str) and i not in names]
        if lacking:
            raise ModelError(
                f"the model takes the named input {lacking[0]!r}, the encoding spec has "
                f"{', '.join(names)}; give the tensor that name"
            )
        positional = [name for name in names if name not in self.inputs]
        arguments = [a for a, i in zip(self.arguments, self.inputs, strict=False) if a != i]
        if sorted(positional) == sorted(arguments) and positional != arguments:
            raise ModelError(
                f"the module's arguments are {', '.join(arguments)}, but the tensors that are made "
                f"for it are {', '.join(positional)}, in another order. Log the model with a "
                "signature, or an encoding spec, that has them in the order of the arguments"
            )
        positions = iter(names.index(name) for name in positional)
        return [names.index(i) if isinstance(i, str) else next(positions) for i in self.inputs]


def may_write(target: object) -> bool:
    """Whether an operator may write to a tensor that it is given."""
    schema = getattr(target, "_schema", None)
    return schema.is_mutable if schema is not None else target is not operator.getitem


def find_pt2(folder: str) -> Path:
    """The ``pt2`` file of an MLflow model folder; a file is taken as it is.

    Raises:
        ModelError: the folder has no such file.
    """
    if Path(folder).is_file():
        return Path(folder)
    if not Path(folder).is_dir():
        raise ModelError(
            f"the pinned copy of the model, {folder}, is gone. Run the partition again, which gets "
            "it anew"
        )
    paths = sorted(path for path in Path(folder).rglob("*.pt2") if path.is_file())
    if not paths:
        raise ModelError(
            f"{folder} holds no .pt2 file; log the model with mlflow.pytorch.log_model(..., "
            "serialization_format='pt2') or nocturne.contract.log_torch_model",
            path=folder,
        )
    return paths[0]


def require_open_rows(
    name: str, rows: int | str | None, ranges: Mapping[str, tuple[object, object]]
) -> None:
    """Check that an export left the number of rows open; the graph itself would not notice.

    Args:
        rows: the first dimension of an argument: a number, a symbol or an expression of symbols.
        ranges: the lowest and the highest value of each symbol; no number is no bound.

    Raises:
        ModelError: the argument takes some numbers of rows only.
    """
    if rows is None:
        return
    if isinstance(rows, int):
        limit = f"exactly {rows}"
    elif not rows.isidentifier():
        limit = f"{rows:.80}"
    else:
        low, high = ranges.get(rows, (None, None))
        limits = [f"at least {low}"] if isinstance(low, int) and low > _FEWEST else []
        limits += [f"at most {high}"] if isinstance(high, int) and high < _MOST else []
        if not limits:
            return
        limit = " and ".join(limits)
    raise ModelError(
        f"the model was exported for {limit} rows (input {name!r}), and may give wrong values for "
        "any other number. Export it with the first dimension of each input dynamic "
        "(torch.export.Dim.DYNAMIC, without min and max), as nocturne.contract.log_torch_model "
        "does, and without a branch of the module that depends on the number of rows"
    )


def require_no_guards(guards: Sequence[str]) -> None:
    """Check that an export took no branch that only some numbers of rows take.

    Args:
        guards: the conditions under which the graph is right, as torch.export writes them: such as
            ``L['x'].size()[0] != 100``.

    Raises:
        ModelError: one is about the number of rows.
    """
    for guard in guards:
        if ".size()[0]" in guard and not _SAME_ROWS.fullmatch(guard):
            raise ModelError(
                f"the model was exported for numbers of rows with {guard:.80} only, and may give "
                "wrong values for others: the module has a branch that depends on the number of "
                "rows. Export it without that branch"
            )
