"""Makes Spark start in a few seconds instead of tens of seconds.

``plan`` decides how the JVM is started: with few options, and from a class-data archive that the
first JVM wrote (``jvm``, ``archive``). ``WORKERS`` lets the daemon of the workers import what they
need before it forks (``daemon``), and ``Waking`` starts the daemon early (``workers``).
"""

from nocturne.spark.start.jvm import Launch, plan
from nocturne.spark.start.workers import WORKERS, Waking

__all__ = ["WORKERS", "Launch", "Waking", "plan"]
