"""What a picture's numbers say of its exposure and noise, to help choose between pictures."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from retinex.photo import Pixels

HISTOGRAM_BINS = 64
NOISE_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
"""The difference of two Laplacians: 0 on constant and linear areas; 36 times the variance of white
noise."""


@dataclass(frozen=True)
class Statistics:
    """Numbers of one picture.

    Attributes:
        mean_luminance: mean of the luma (ITU-R BT.601), 0 to 1.
        clipped_share: share of the pixels with a channel at 255, 0 to 1.
        noise: estimated standard deviation of the noise, in steps of 255.
        histogram: share of the pixels in each of `HISTOGRAM_BINS` equal ranges of luma.
    """

    mean_luminance: float
    clipped_share: float
    noise: float
    histogram: NDArray[np.float64]


def measure(rgb: Pixels) -> Statistics:
    """Measure a picture, (h, w, 3) uint8."""
    luma = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
    counts = cv2.calcHist([luma], [0], None, [HISTOGRAM_BINS], [0, 256]).ravel()
    return Statistics(
        mean_luminance=float(luma.mean()) / 255.0,
        clipped_share=float((rgb.max(axis=2) == 255).mean()),
        noise=estimate_noise(luma),
        histogram=counts.astype(np.float64) / luma.size,
    )


def estimate_noise(luma: Pixels) -> float:
    """Estimate the standard deviation of the noise in (h, w) uint8, in steps of 255.

    Immerkær, "Fast Noise Variance Estimation", 1996: the mean response to a kernel that ignores
    constant and linear areas. Fine texture counts as noise; 0 for pictures below 3×3 pixels.
    """
    if min(luma.shape) < 3:
        return 0.0
    response = np.abs(cv2.filter2D(luma, cv2.CV_32F, NOISE_KERNEL))[1:-1, 1:-1]
    return float(np.sqrt(np.pi / 2) / 6 * response.mean())
