"""Camera in its own process, which a benchmark can kill: motion JPEG over HTTP.

python benchmarks/reliability/mjpeg_server.py PORT FPS IMAGE ...
"""

import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Stream(BaseHTTPRequestHandler):
    """Sends the images in turn until the reader disconnects."""

    def do_GET(self) -> None:
        """Answer a reader."""
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        fps, images = float(sys.argv[2]), [Path(name).read_bytes() for name in sys.argv[3:]]
        index, due = 0, time.perf_counter()
        try:
            while True:
                data = images[index % len(images)]
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data + b"\r\n")
                index, due = index + 1, due + 1 / fps
                time.sleep(max(0.0, due - time.perf_counter()))
        except OSError:
            return

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Stream).serve_forever()
