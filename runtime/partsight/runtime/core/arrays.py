"""Array types that many modules share."""

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
"""Pixels of one image, (height, width, 3) BGR or (height, width) grey, or of a batch of images."""

FloatArray = npt.NDArray[np.float32]
"""Scores, embeddings, agreements: the network's numbers and the matcher's."""
