"""LPIPS, the distance of two photos in the features of a classifier; needs the extra `lpips`."""

import lpips
import torch

from retinex.photo import Pixels
from retinex.training.pairs import to_tensor


class PerceptualDistance:
    """LPIPS 0.1 (Zhang et al., CVPR 2018) with the AlexNet backbone, on the CPU."""

    def __init__(self) -> None:
        """Load the backbone; torchvision downloads its weights the first time.

        Raises:
            OSError: the download failed.
        """
        self._distance = lpips.LPIPS(net="alex", verbose=False).eval()

    @torch.inference_mode()
    def __call__(self, low: Pixels, output: Pixels, high: Pixels) -> dict[str, float]:
        """Return the "lpips" of output and reference, (h, w, 3) uint8; `low` isn't used."""
        # The package takes values in [-1, 1].
        ours, reference = (to_tensor([photo]) * 2 - 1 for photo in (output, high))
        return {"lpips": self._distance(ours, reference).item()}
