"""Small pictures of kept frames, made when a browser asks for them."""

import threading
from collections import OrderedDict

from partsight.runtime.feedback import KeptFrame
from partsight.runtime.images import read_image
from partsight.runtime.page.why.overlay_pictures import jpeg_of

_SIDE_PX = 360
_MOST = 300  # of about 15 kB each


class Thumbnails:
    """The last thumbnails. One is made at a time, so that a page full of them takes no more than one core."""

    def __init__(self) -> None:
        """Start without any."""
        self._made: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, frame: KeptFrame) -> bytes:
        """Return the thumbnail of a frame, as JPEG, at most 360 px wide and high.

        Raises:
            ImageError: the picture cannot be read, or is gone.
        """
        with self._lock:
            data = self._made.get(frame.name)
            if data is None:
                data = self._made[frame.name] = jpeg_of(read_image(frame.path), _SIDE_PX)
            self._made.move_to_end(frame.name)
            if len(self._made) > _MOST:
                self._made.popitem(last=False)
            return data
