"""All surfaces, and the share that each has of a million cases."""

from tests.fuzz.surface import Surface
from tests.fuzz.surfaces import (
    addresses,
    answers,
    frames,
    manifests,
    models,
    network,
    packages,
    pictures,
    plc,
    prototypes,
    records,
    reopened,
    settings,
)

_ALL = (
    Surface("manifests", manifests.open_manifests, 120_000),
    Surface("labels", records.open_labels, 40_000),
    Surface("records", records.open_records, 70_000),
    Surface("result-files", records.open_files, 40_000),
    Surface("sink-addresses", addresses.open_sink_addresses, 120_000),
    Surface("camera-addresses", addresses.open_camera_addresses, 100_000),
    Surface("answers", answers.open_answers, 58_300),
    Surface("frame-sizes", frames.open_sizes, 20_000),
    Surface("frame-arrays", frames.open_arrays, 20_000),
    Surface("camera-buffers", frames.open_buffers, 30_000),
    Surface("image-files", pictures.open_files, 50_000, seconds=20),
    Surface("references", pictures.open_references, 30_000),
    Surface("prototypes", prototypes.open_prototypes, 40_000),
    Surface("model-files", models.open_alone, 30_000),
    Surface("model-in-package", models.open_packages, 10_000),
    Surface("models-onnxruntime", models.hostile_models("cpu"), 20_000, seconds=20, memory_mb=3072),
    Surface("models-openvino", models.hostile_models("openvino"), 3_000, seconds=20, memory_mb=3072),
    Surface("line-files", settings.open_line_files, 40_000),
    Surface("options", settings.open_options, 40_000),
    Surface("keys-signatures", settings.open_keys, 20_000),
    Surface("reopened-lines", reopened.open_lines, 20_000),
    Surface("reopened-databases", reopened.open_databases, 10_000),
    Surface("reopened-folders", reopened.open_folders, 10_000),
    Surface("broker-answers", network.open_broker, 500, seconds=15),
    Surface("streams", network.open_streams, 200, seconds=15),
    Surface("videos", network.open_videos, 3_000, seconds=15),
    Surface("modbus-requests", plc.open_modbus, 30_000),
    Surface("opcua-requests", plc.open_opcua, 5_000),
    Surface("metrics-requests", plc.open_metrics, 10_000),
    Surface("package-folders", packages.open_folders, 10_000, seconds=10),
)

SURFACES = {surface.name: surface for surface in _ALL}
