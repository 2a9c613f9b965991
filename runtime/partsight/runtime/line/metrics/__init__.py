"""Figures of a running line for Prometheus, and the server that shows them.

A part of the room `line`.
"""

from partsight.runtime.line.metrics.registry import Metrics
from partsight.runtime.line.metrics.server import MetricsServer, parse_listen_address

__all__ = ["Metrics", "MetricsServer", "parse_listen_address"]
