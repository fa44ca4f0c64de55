"""The projects of the pipeline's tests."""

from pipeline.conftest import project, registry

__all__ = ["project", "registry"]
