"""Scores splits in processes of this machine, without Spark and without a JVM.

``Processes`` is what the driver uses. It starts a server (``__main__``) that imports what a split
needs and then forks the processes that score. The splits, the files and the way to go on after an
interruption are the same as with Spark, which scores in many machines, and by SQL.
"""

from nocturne.processes.pool import Processes

__all__ = ["Processes"]
