"""Pictures of how far a network is: one row a photo, one column a stage."""

from collections.abc import Sequence

import torch
from PIL import Image

from retinex.contact_sheet import draw_contact_sheet
from retinex.photo import Pixels
from retinex.stages import Stage
from retinex.training.build import Network
from retinex.training.pairs import to_tensor


def stage_grid(net: Network, photos: Sequence[Pixels], device: torch.device) -> Image.Image:
    """Run `net` in float32 on each photo, (h, w, 3) uint8, and draw all five stages."""
    rows = [[photo, *run_stages(net, photo, device)] for photo in photos]
    return draw_contact_sheet(rows, [stage.label for stage in Stage])


@torch.inference_mode()
def run_stages(net: Network, photo: Pixels, device: torch.device) -> list[Pixels]:
    """Return R, I, Î and the output as uint8 images."""
    stages = net(to_tensor([photo]).to(device))
    images = (stage[0].clamp(0, 1).mul(255).round().byte().cpu() for stage in stages)
    return [image.permute(1, 2, 0).squeeze(2).numpy() for image in images]
