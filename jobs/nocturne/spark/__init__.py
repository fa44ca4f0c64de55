"""The score room: splits through Spark's workers. Import ``job`` and ``session`` from it."""
