"""Run two cameras on one recogniser: a PLC reads each answer, a database keeps it, and SIGTERM ends all in order.

python examples/two_cameras_plc.py line3.partsight usb:0 usb:1 127.0.0.1:5020 results.db
"""

import signal
import sys

from partsight.runtime import Recognizer
from partsight.runtime.cameras import open_camera
from partsight.runtime.line import Line
from partsight.runtime.sinks import FrameEvent, open_sink

if len(sys.argv) != 6:
    sys.exit(f"expected PACKAGE, two cameras, HOST:PORT for the PLC, and a database file\n{__doc__}")
package, left, right, plc, database = sys.argv[1:]


def on_result(event: FrameEvent) -> None:
    """Print an answer. The line's publishing thread calls this and waits for it: be quick here."""
    record = event.record
    print(record.camera, record.sequence, record.label or record.outcome, record.latency_ms, flush=True)


cameras = {"left": lambda: open_camera(left), "right": lambda: open_camera(right)}
sinks = {
    # partsight serves, the PLC reads. For part numbers add &labels=FILE; without it every part is 65535.
    "plc": open_sink(f"modbus://{plc}?cameras=left,right"),
    "rows": open_sink(f"sqlite:{database}"),
}
# A newer frame replaces one that still waits. An answer is of use for 200 ms after its frame came.
line = Line(Recognizer(package), cameras, sinks, deadline_ms=200, on_result=on_result)
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: line.stop())
with line:
    line.wait()
print(line.counters())
