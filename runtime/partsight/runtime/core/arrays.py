"""Array types that many modules share."""

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
"""Pixels from 0 to 255 of one image, (height, width, 3) BGR or (height, width) grey, or of a batch of images.

An alias for type hints: `numpy.ndarray` with dtype uint8. OpenCV reads and shows such arrays as they are.
"""

FloatArray = npt.NDArray[np.float32]
"""Scores, embeddings and agreements, float32; each function states the shape."""
