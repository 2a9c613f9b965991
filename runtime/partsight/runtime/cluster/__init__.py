"""More than one machine: packages served and run by Ray, on one node or many (extra `ray`).

May import `core`, `images`, `inference`, `matching`, `package`, `recognition`, `signing` and `sinks`.
"""

from partsight.runtime.cluster.serve.application import app

__all__ = ["app"]
