"""Whether labels speak for a challenger."""

from __future__ import annotations

from dataclasses import dataclass, field

from nocturne.records.truth import Difference

__all__ = ["Evidence"]


@dataclass(frozen=True)
class Evidence:
    """What the labels of the last nights say of a challenger, by ``promote:`` of the pipeline.

    Attributes:
        model: the registered model whose ``alias`` would be moved.
        champion, challenger: the versions that are compared; None: no night has both.
        name: the challenger's.
        metric: the figure, of which ``more`` or ``less`` is better.
        nights: partition -> the challenger's figure less the champion's; the newest ones.
        mean: their mean, with the interval over nights; None without a night.
        segments: value -> the mean difference over the nights, of the segments that were worst.
        proposed: whether all that ``promote:`` asks for holds.
        why: what holds, or what is missing, in words.
    """

    pipeline: str
    model: str
    alias: str
    name: str
    champion: int | None
    challenger: int | None
    metric: str
    better: str
    nights: dict[str, float] = field(default_factory=dict)
    mean: Difference | None = None
    segments: dict[str, float] = field(default_factory=dict)
    proposed: bool = False
    why: str = ""
