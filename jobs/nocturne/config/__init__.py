"""The config room: typed YAML in layers, and the partitions that dates stand for."""

from nocturne.config.layers import POOLS, Loaded, home, load, names, project_sections
from nocturne.config.models import Pipeline, Scoring
from nocturne.config.partitions import from_path, key_format, later, parse, partition, period, span

__all__ = [
    "POOLS",
    "Loaded",
    "Pipeline",
    "Scoring",
    "from_path",
    "home",
    "key_format",
    "later",
    "load",
    "names",
    "parse",
    "partition",
    "period",
    "project_sections",
    "span",
]
