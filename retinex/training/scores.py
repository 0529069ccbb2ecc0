"""How close a network in PyTorch comes to photos taken in normal light."""

from collections.abc import Iterable

import numpy as np

from retinex.metrics import psnr, psnr_gt_mean, ssim
from retinex.photo import Pixels
from retinex.training.build import Network
from retinex.training.portable import run_in_torch


def score(net: Network, pairs: Iterable[tuple[Pixels, Pixels]]) -> dict[str, float]:
    """Return the means of "psnr", "psnr_gt_mean" and "ssim" of what users would get.

    Args:
        net: is run where it is, in float32.
        pairs: dark photos and the same in normal light, (h, w, 3) uint8; at least one.
    """
    scores = []
    for dark, normal in pairs:
        (output,) = run_in_torch(net, dark[None])[-1]
        scores.append([measure(output, normal) for measure in (psnr, psnr_gt_mean, ssim)])
    means = np.mean(scores, axis=0).tolist()
    return dict(zip(("psnr", "psnr_gt_mean", "ssim"), means, strict=True))
