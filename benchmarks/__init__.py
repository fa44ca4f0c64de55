"""Nocturne beside its peers: same files, model, outputs and process count, one harness.

``python -m benchmarks --help``; what is measured and how stands in docs/benchmarks.md.
"""
