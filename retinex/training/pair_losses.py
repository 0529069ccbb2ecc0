"""What only the networks in PyTorch tell of a pair: losses, to compare with the study's, and Î."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from retinex.photo import Pixels
from retinex.thumbnail import make_thumbnail
from retinex.training.checkpoints import CheckpointError, load_weights
from retinex.training.networks import RetinexNet
from retinex.training.pairs import Crops, to_batch
from retinex.training.phases import Phase, phase_losses

LOSS_SIZE = 297
"""Width and height, in pixels, that the study resized every photo to."""


class PairLosses:
    """L_decom, L_enhance and Î of an experiment's weights, in float32 on the CPU."""

    def __init__(self, weights: Path, experiment: str) -> None:
        """Load `weights`.

        Raises:
            CheckpointError: they can't be used, are those of another experiment, or aren't of a
                RetinexNet, which these losses are defined for.
        """
        net, trained_as, _ = load_weights(weights)
        if trained_as.name != experiment:
            raise CheckpointError(f"{weights} holds weights of {trained_as.name}")
        if not isinstance(net, RetinexNet):
            raise CheckpointError(f"{experiment} has no Decom-Net and Enhance-Net")
        self._net = net

    @torch.inference_mode()
    def __call__(self, low: Pixels, output: Pixels, high: Pixels) -> dict[str, float]:
        """Return a pair's "decom_loss", "enhance_loss" and mean and spread of its Î.

        Pictures clip Î at 1; this one isn't. The pair, (h, w, 3) uint8, is made 297×297.
        Enhance-Net's loss is defined for experiments without one, too: Î is 1 there. `output`
        isn't used: the networks run anew, at the size of the study.
        """
        batch = to_batch([Crops(resize(low), resize(high), make_thumbnail(low))])
        float32 = torch.autocast("cpu", enabled=False)
        losses = phase_losses(self._net, Phase.JOIN, batch, float32)
        illumination = self._net(batch.low).enhanced_illumination
        return {f"{name}_loss": loss.item() for name, loss in losses.items()} | {
            "unclipped_enhanced_illumination_mean": illumination.mean().item(),
            "unclipped_enhanced_illumination_spread": illumination.std().item(),
        }


def resize(photo: Pixels) -> Pixels:
    """Resize to 297×297, whatever the proportions, by Pillow's bilinear filter."""
    small = Image.fromarray(photo).resize((LOSS_SIZE, LOSS_SIZE), Image.Resampling.BILINEAR)
    return np.asarray(small)
