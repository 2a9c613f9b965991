"""Recognise the parts in a folder of frames: the shortest program that embeds partsight.

python examples/embed.py line3.partsight examples/parts/line
"""

import sys

from partsight.runtime import Recognizer
from partsight.runtime.cameras import open_camera

if len(sys.argv) != 3:
    sys.exit(f"expected PACKAGE and FOLDER\n{__doc__}")
package, folder = sys.argv[1:]
with Recognizer(package) as recognizer, open_camera(f"folder:{folder}") as camera:
    while (frame := camera.read()) is not None:
        part = recognizer.recognize(frame.image)
        print(frame.source, part.label or "unknown", f"{part.score:.3f} {part.latency_ms:.1f} ms")
