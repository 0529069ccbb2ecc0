"""How close a network in PyTorch comes to photos taken in normal light."""

from collections.abc import Iterable

import numpy as np

from retinex.metrics import psnr, psnr_gt_mean, ssim
from retinex.training.build import Network
from retinex.training.pairs import Crops
from retinex.training.portable import run_in_torch


def score(net: Network, photos: Iterable[Crops]) -> dict[str, float]:
    """Return the means of "psnr", "psnr_gt_mean" and "ssim" of what users would get.

    Args:
        net: is run where it is, in float32.
        photos: whole ones, or parts of photos; at least one.
    """
    measures = {"psnr": psnr, "psnr_gt_mean": psnr_gt_mean, "ssim": ssim}
    scores: dict[str, list[float]] = {name: [] for name in measures}
    for photo in photos:
        (output,) = run_in_torch(net, photo.low[None], photo.thumbnail[None])[-1]
        for name, measure in measures.items():
            scores[name].append(measure(output, photo.high))
    return {name: float(np.mean(of_photos)) for name, of_photos in scores.items()}
