"""A thumbnail of the whole photo: from it `retinex_plus` decides how bright a photo should become.

Tiles of a large photo can't tell; so the thumbnail is made once and goes into each tile's run.
"""

import numpy as np
from numpy.typing import NDArray

from retinex.photo import Pixels

THUMBNAIL_SIZE = 64
"""Height and width in pixels, whatever the photo's proportions."""
DESCRIPTION = ("gain", "context")
"""What the ONNX file calls all that the network takes from the thumbnail."""


def make_thumbnail(rgb: Pixels) -> Pixels:
    """Average `rgb`, (h, w, 3) uint8, over areas: (THUMBNAIL_SIZE, THUMBNAIL_SIZE, 3) uint8."""
    of_rows = _average_parts(rgb)
    thumbnail = _average_parts(of_rows.swapaxes(0, 1)).swapaxes(0, 1)
    return np.rint(thumbnail).astype(np.uint8)


def _average_parts(lines: NDArray[np.generic]) -> NDArray[np.float64]:
    """Average (n, ...) over THUMBNAIL_SIZE equal parts of the first axis: (THUMBNAIL_SIZE, ...).

    A line that lies in several parts counts in each by its share. Not as a product of matrices:
    NumPy's threads would go on spinning, and slow down the networks that run next.
    """
    # Where each part begins: a whole line and the 64ths of the next one.
    begins = [divmod(part * len(lines), THUMBNAIL_SIZE) for part in range(THUMBNAIL_SIZE + 1)]
    sums = np.zeros((THUMBNAIL_SIZE, *lines.shape[1:]))
    for total, (start, before), (stop, within) in zip(sums, begins, begins[1:], strict=False):
        lines[start:stop].sum(axis=0, dtype=np.float64, out=total)
        total -= lines[start] * (before / THUMBNAIL_SIZE)
        if within:
            total += lines[stop] * (within / THUMBNAIL_SIZE)
    return sums * (THUMBNAIL_SIZE / len(lines))
