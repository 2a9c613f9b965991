"""All surfaces, and the share of each in a million cases."""

from tests.fuzz.surface import Surface
from tests.fuzz.surfaces import (
    addresses,
    answers,
    banks,
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

# The slowest surfaces come first, so that no slow one runs alone at the end.
_ALL = (
    Surface("broker-answers", network.open_broker, 100, seconds=15, needs=("paho",)),
    Surface("image-files", pictures.open_files, 30_000, seconds=20),
    Surface("models-onnxruntime", models.hostile_models("cpu"), 15_000, seconds=20, memory_mb=3072),
    Surface(
        "models-openvino", models.hostile_models("openvino"), 3_000, seconds=20, memory_mb=3072, needs=("openvino",)
    ),
    Surface("opcua-requests", plc.open_opcua, 3_000, needs=("asyncua",)),
    Surface("modbus-requests", plc.open_modbus, 15_000),
    Surface("frame-arrays", frames.open_arrays, 8_000),
    Surface("package-folders", packages.open_folders, 10_000, seconds=10),
    Surface("labels", records.open_labels, 20_000),
    Surface("answers", answers.open_answers, 40_000),
    Surface("frame-sizes", frames.open_sizes, 15_000),
    Surface("streams", network.open_streams, 200, seconds=15),
    Surface("sink-addresses", addresses.open_sink_addresses, 120_000),
    Surface("manifests", manifests.open_manifests, 150_000),
    Surface("camera-addresses", addresses.open_camera_addresses, 140_000),
    Surface("records", records.open_records, 80_000),
    Surface("result-files", records.open_files, 40_000),
    Surface("references", pictures.open_references, 30_000),
    Surface("metrics-requests", plc.open_metrics, 10_000, needs=("prometheus_client",)),
    Surface("model-in-package", models.open_packages, 10_000),
    Surface("model-files", models.open_alone, 30_000),
    Surface("camera-buffers", frames.open_buffers, 30_000),
    Surface("prototypes", prototypes.open_prototypes, 41_000),
    Surface("banks", banks.open_banks, 6_000),
    Surface("line-files", settings.open_line_files, 40_000),
    Surface("options", settings.open_options, 50_700),
    Surface("keys-signatures", settings.open_keys, 20_000, needs=("cryptography",)),
    Surface("reopened-lines", reopened.open_lines, 20_000),
    Surface("reopened-databases", reopened.open_databases, 10_000),
    Surface("reopened-folders", reopened.open_folders, 10_000),
    Surface("videos", network.open_videos, 3_000, seconds=15),
)

SURFACES = {surface.name: surface for surface in _ALL}


def find_surface(name: str) -> Surface:
    """Return a surface by its name, including the broken surfaces that test the runner."""
    if name in SURFACES:
        return SURFACES[name]
    from tests.fuzz.broken import BROKEN

    return BROKEN[name]
