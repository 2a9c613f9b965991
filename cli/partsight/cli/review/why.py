"""Pictures that explain the answers of a package to kept frames."""

from pathlib import Path

import cv2

from partsight.runtime import Recognizer
from partsight.runtime.core import PartsightError, write_file
from partsight.runtime.feedback import KeptFrame
from partsight.runtime.images import read_image
from partsight.runtime.recognition import draw_explanation

FOLDER = "why"


class WhyPictures:
    """Explains frames, each when a person looks at it: the line itself is not slowed down."""

    def __init__(self, folder: Path, package: str | Path) -> None:
        """Load the package.

        Args:
            folder: Folder of the sink; the pictures come into its folder `why`.
            package: Package that answers the frames again.

        Raises:
            PackageError: the package cannot be read.
        """
        self._folder = folder / FOLDER
        self._recognizer = Recognizer(package)

    def of(self, frame: KeptFrame) -> str:
        """Write the picture of a frame; return its path, or the reason why there is none."""
        path = self._folder / f"{frame.name}.png"
        try:
            explanation = self._recognizer.explain(read_image(frame.path))
            data = cv2.imencode(".png", draw_explanation(explanation))[1]
            write_file(path, data.tobytes(), is_flushed=False)
        except PartsightError as error:
            return f"no picture ({error})"
        return f"{explanation.sentence}\n       {path}"
