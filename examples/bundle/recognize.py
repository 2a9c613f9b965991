"""Recognise one image with a bundle on ONNX Runtime, without partsight.

pip install numpy onnxruntime opencv-python-headless
python recognize.py FILE.onnx IMAGE
"""

import json
import sys

import cv2
import onnxruntime
from prepare import prepare

REASONS = ("recognised", "agrees_with_none", "two_parts_fit")

if len(sys.argv) != 3:
    sys.exit(f"expected FILE.onnx and IMAGE\n{__doc__}")
file, path = sys.argv[1:]
session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
bundle = json.loads(session.get_modelmeta().custom_metadata_map["partsight.bundle"])
if bundle["schema_version"] != 1:
    sys.exit(f"{file} has schema version {bundle['schema_version']}; this program reads 1")

is_mono = bundle["preprocess"]["color"] == "mono"
frame = cv2.imread(path, cv2.IMREAD_GRAYSCALE if is_mono else cv2.IMREAD_COLOR)
if frame is None:
    sys.exit(f"cannot read the image {path}")
batch = prepare(frame, bundle["preprocess"])[None]  # one frame; stack more of them to recognise them together

names = ["label_index", "agreement", "margin", "accepted", "reason"]
label_index, agreement, margin, accepted, reason = (
    values[0].item() for values in session.run(names, {"image_bgr": batch})
)
answer = {
    "label": bundle["labels"][label_index] if accepted else None,
    "agreement": agreement,
    "margin": margin,
    "accepted": accepted,
    "reason": REASONS[reason],
}
print(json.dumps(answer))
