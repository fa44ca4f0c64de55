"""``nocturne init``: a pipeline YAML and two starter suites from a model and its data.

The files are ready to run and are meant to be edited: comments in them name every guess and what
it is based on.
"""

from nocturne.cli.init.write import init

__all__ = ["init"]
