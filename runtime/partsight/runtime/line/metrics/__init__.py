"""Metrics of a running line for Prometheus, and the server that publishes them.

A part of the room `line`. Import the server from its module `line.metrics.server`: most lines do not need it.
"""

from partsight.runtime.line.metrics.registry import Metrics

__all__ = ["Metrics"]
