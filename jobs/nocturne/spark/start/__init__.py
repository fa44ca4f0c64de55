"""What makes Spark start fast, behind one door: seconds where it takes tens of them.

``plan`` says how the JVM is started: lean, and from a class-data archive that the first one leaves
(``jvm``, ``archive``). ``WORKERS`` has the workers' daemon import what they need before it forks
(``daemon``), and ``Waking`` gives it a task before there is work (``workers``).
"""

from nocturne.spark.start.jvm import Launch, plan
from nocturne.spark.start.workers import WORKERS, Waking

__all__ = ["WORKERS", "Launch", "Waking", "plan"]
