"""A thumbnail of the whole photo: from it `retinex_plus` decides how bright a photo should become.

Tiles of a large photo can't tell; so the thumbnail is made once and goes into each tile's run.
"""

import numpy as np
from numpy.typing import NDArray

from retinex.photo import Pixels, split_rows

THUMBNAIL_SIZE = 64
"""Height and width in pixels, whatever the photo's proportions."""


def area_weights(size: int) -> NDArray[np.float32]:
    """How much each of `size` pixels in a line counts in each pixel of the thumbnail.

    Returns:
        (THUMBNAIL_SIZE, size): the shares of the thumbnail's pixels that the photo's pixels cover;
        rows sum to 1.
    """
    # In units in which both kinds of pixels have whole sizes.
    thumbnail = np.arange(THUMBNAIL_SIZE)[:, None] * size
    pixel = np.arange(size)[None, :] * THUMBNAIL_SIZE
    end = np.minimum(pixel + THUMBNAIL_SIZE, thumbnail + size)
    covered = (end - np.maximum(pixel, thumbnail)).clip(min=0)
    weights: NDArray[np.float32] = (covered / size).astype(np.float32)
    return weights


def make_thumbnail(rgb: Pixels) -> Pixels:
    """Average `rgb`, (h, w, 3) uint8, over areas: (THUMBNAIL_SIZE, THUMBNAIL_SIZE, 3) uint8."""
    height, width = rgb.shape[:2]
    of_rows, of_columns = area_weights(height), area_weights(width)
    mean = np.zeros((THUMBNAIL_SIZE, width * 3), np.float32)
    for rows in split_rows(height):
        mean += of_rows[:, rows] @ rgb[rows].reshape(-1, width * 3).astype(np.float32)
    thumbnail = of_columns @ mean.reshape(THUMBNAIL_SIZE, width, 3)
    return np.rint(thumbnail).astype(np.uint8)
