"""Packages for servers, and answers of them that can be compared."""

from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from partsight.runtime import PartPose, Result, Stages
from partsight.runtime.core.safe_folder import MANIFEST_NAME
from partsight.runtime.images.preprocessing import Region
from partsight.runtime.package.manifest import Manifest
from tests.runtime.calibration.commissioning import lines

UNTIMED = Stages(0, 0, 0)


def untimed(results: list[Result]) -> list[Result]:
    """Return results without their times, and with poses as a server sends them, in FP32."""
    return [replace(result, latency_ms=0.0, stages=UNTIMED, pose=_rounded(result.pose)) for result in results]


def _rounded(pose: PartPose | None) -> PartPose | None:
    return None if pose is None else PartPose(*(float(np.float32(value)) for value in astuple(pose)))


def write_patterned(path: Path, region: Region | None = None, **changes: Any) -> Path:
    """Write a package of spotted parts, whose network and comparison have two sizes.

    Args:
        path: Folder to write.
        region: Region of the package.
        changes: Other fields of its preprocessing.
    """
    lines.write_package(path, threshold=0.4)
    file = path / MANIFEST_NAME
    manifest = Manifest.from_json(file.read_bytes(), "patterned")
    golden_hw = (lines.SIDE, lines.SIDE) if region else None
    fields: dict[str, Any] = {"via": lines.SPEC.size_hw, "region": region, "golden_hw": golden_hw} | changes
    spec = msgspec.structs.replace(manifest.preprocess, **fields)
    file.write_bytes(msgspec.structs.replace(manifest, preprocess=spec).to_json())
    return path


def with_decision(path: Path, **changes: Any) -> Path:
    """Change the decision of a package's comparison; its id changes with it."""
    file = path / MANIFEST_NAME
    manifest = Manifest.from_json(file.read_bytes(), "changed")
    assert manifest.matching is not None
    decision = msgspec.structs.replace(manifest.matching.decision, **changes)
    matching = msgspec.structs.replace(manifest.matching, decision=decision)
    file.write_bytes(msgspec.structs.replace(manifest, matching=matching).to_json())
    return path
