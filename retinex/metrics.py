"""How close a picture is to a reference: what papers give, on 8-bit RGB."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from retinex.photo import LUMA, Pixels, split_rows

WHITE = 255
SSIM_WINDOW = 7
"""Side of SSIM's window: scikit-image's default."""
FLAT_WINDOW = 9
"""Side of the squares, in pixels, that are looked at for plain areas."""
FLAT_DEVIATION = 2.0
"""Standard deviation, in steps of 255, of a plain area of a photo in normal light."""


def psnr(output: Pixels, reference: Pixels) -> float:
    """10 · log₁₀(255² / MSE) in dB, the MSE over all pixels and channels; inf if they are equal.

    Both (h, w, 3).
    """
    # OpenCV doesn't turn whole photos into floats.
    return _decibels(cv2.norm(output, reference, cv2.NORM_L2SQR), reference.size)


def _decibels(squared_error: float, values: int) -> float:
    """Return the PSNR of so many values with this sum of squared errors."""
    if squared_error == 0:
        return math.inf
    return 10 * math.log10(WHITE**2 * values / squared_error)


def ssim(output: Pixels, reference: Pixels) -> float:
    """Structural similarity (Wang et al., IEEE TIP 2004), the mean over R, G and B; 1 if equal.

    scikit-image's defaults: a uniform window of 7×7 pixels, sample covariance, K₁ = 0.01,
    K₂ = 0.03; windows that reach over the border don't count. Papers that used the original
    Gaussian window (11×11, σ = 1.5) differ a little. Both (h, w, 3), of at
    least 7×7 pixels.
    """
    border = SSIM_WINDOW // 2
    total = 0.0
    # In blocks of rows of windows' centres: scikit-image holds 16 maps of what it is given.
    for rows in split_rows(len(reference) - 2 * border):
        seen = slice(rows.start, rows.stop + 2 * border)
        _, similarity = structural_similarity(
            reference[seen], output[seen], data_range=WHITE, channel_axis=2, full=True
        )
        total += float(similarity[border:-border, border:-border].mean()) * (rows.stop - rows.start)
    return total / (len(reference) - 2 * border)


def psnr_gt_mean(output: Pixels, reference: Pixels) -> float:
    """PSNR after the reference has told how bright the output should have been.

    The output is scaled by mean(gray(reference)) / mean(gray(output)) and clipped to 0…255, not
    rounded, as the test code of KinD (Zhang et al., ACM MM 2019) and of Retinexformer (Cai et al.,
    ICCV 2023; its flag `GT_mean`) does. Not comparable with plain PSNR. A black output is left as
    it is.
    """
    brightness = _mean_gray(output)
    scale = _mean_gray(reference) / brightness if brightness else 1.0
    squared_error = 0.0
    for rows in split_rows(len(output)):  # of a whole photo floats would take gigabytes
        scaled = (output[rows] * scale).clip(0, WHITE)
        squared_error += cv2.norm(scaled, reference[rows].astype(np.float64), cv2.NORM_L2SQR)
    return _decibels(squared_error, reference.size)


def _mean_gray(rgb: Pixels) -> float:
    return float(rgb.mean(axis=(0, 1)) @ np.asarray(LUMA))


def measure_flat_noise(rgb: Pixels, reference: Pixels) -> tuple[float, float] | None:
    """Measure how much a picture, and its reference, vary where the latter is plain.

    The mean, over those pixels, of the standard deviation of luma within `FLAT_WINDOW` pixels, in
    steps of 255: grain and small blotches. Both (h, w, 3) uint8. None if nothing in the reference
    is plain.
    """
    of_reference = _local_deviation(reference)
    plain = of_reference < FLAT_DEVIATION
    if not plain.any():
        return None
    return float(_local_deviation(rgb)[plain].mean()), float(of_reference[plain].mean())


def _local_deviation(rgb: Pixels) -> NDArray[np.float64]:
    """Return the standard deviation of luma around each pixel, (h, w); luma isn't rounded."""
    luma = rgb @ np.asarray(LUMA)
    window = (FLAT_WINDOW, FLAT_WINDOW)
    variance = cv2.blur(luma**2, window) - cv2.blur(luma, window) ** 2
    return np.asarray(np.sqrt(variance.clip(min=0)))
