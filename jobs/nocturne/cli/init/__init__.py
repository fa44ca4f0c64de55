"""``nocturne init``: a pipeline YAML and two starter suites from a model and its data.

What it writes is ready to run and meant to be changed: every guess is stated in the files
with what it was guessed from.
"""

from nocturne.cli.init.write import init

__all__ = ["init"]
