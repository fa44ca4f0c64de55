"""The Spark room: scores splits in Spark's workers (``job``, ``session``, ``query``).

``score_udf`` is the engine for notebooks and other people's jobs.
"""

from nocturne.spark.udf import score_udf

__all__ = ["score_udf"]
