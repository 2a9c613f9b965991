"""A recogniser's other half on a server: frames go there, answers come back, by the KServe v2 protocol."""

from partsight.runtime.recognition.remote.address import RemoteAddress, parse_address
from partsight.runtime.recognition.remote.check import check_provider, check_settings
from partsight.runtime.recognition.remote.pipeline import RemotePipeline
from partsight.runtime.recognition.remote.session import RemoteSession

__all__ = ["RemoteAddress", "RemotePipeline", "RemoteSession", "check_provider", "check_settings", "parse_address"]
