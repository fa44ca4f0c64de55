"""The demo's model: how likely a flight arrives late, wide and deep (Cheng et al., 2016).

Three months hold few kinds of weather: each is shared by all flights of an hour, and a deep
network learns those days by heart. So the deep part sees who flies where and when, and the
weather enters through the wide, linear part alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

__all__ = ["FlightDelay"]


class FlightDelay(nn.Module):
    """Logits [rows] from numbers [rows, n] and category codes [rows, m].

    Args:
        numbers: how many numbers there are; the first ``schedule`` of them go deep too.
        schedule: see ``numbers``.
        sizes: for each code how many values it has, "unknown" included.
    """

    def __init__(
        self,
        numbers: int,
        schedule: int,
        sizes: Sequence[int],
        *,
        width: int = 8,
        hidden: Sequence[int] = (64, 32),
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.schedule = schedule
        self.embeddings = nn.ModuleList(nn.Embedding(s, min(width, (s + 1) // 2)) for s in sizes)
        self.biases = nn.ModuleList(nn.Embedding(s, 1, _weight=torch.zeros(s, 1)) for s in sizes)
        self.linear = nn.Linear(numbers, 1)
        widths = [schedule + sum(min(width, (s + 1) // 2) for s in sizes), *hidden]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
        self.dense = nn.Sequential(*layers, nn.Linear(widths[-1], 1))

    def forward(self, numbers: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        embedded = [table(codes[:, i]) for i, table in enumerate(self.embeddings)]
        logits: torch.Tensor = self.dense(
            torch.cat([numbers[:, : self.schedule], *embedded], dim=1)
        )
        logits = logits + self.linear(numbers)
        for i, table in enumerate(self.biases):
            logits = logits + table(codes[:, i])
        return logits[:, 0]
