"""Figures of a running line for Prometheus, and the server that shows them.

A part of the room `line`. The server is imported by its module, `line.metrics.server`, by who wants it.
"""

from partsight.runtime.line.metrics.registry import Metrics

__all__ = ["Metrics"]
