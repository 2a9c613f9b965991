"""The model repository of a Triton server: writing versions of a model, and checking them. Needs the extra `triton`."""

from partsight.export.triton.check import Checked
from partsight.export.triton.instances import Instances
from partsight.export.triton.repository import (
    ModelOptions,
    Source,
    TritonModel,
    add_to_repository,
    check_repository,
)

__all__ = ["Checked", "Instances", "ModelOptions", "Source", "TritonModel", "add_to_repository", "check_repository"]
