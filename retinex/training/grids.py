"""Pictures of how far a network is: one row a photo, one column a stage."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw

from retinex.photo import Pixels
from retinex.training.networks import RetinexNet
from retinex.training.pairs import to_tensor

COLUMNS = ("input", "R", "I", "enhanced I", "output")
CELL_WIDTH = 300
CAPTION_HEIGHT = 16


def stage_grid(net: RetinexNet, photos: Sequence[Pixels], device: torch.device) -> Image.Image:
    """Run `net` in float32 on each photo, (h, w, 3) uint8, and draw all five stages."""
    rows = [[photo, *run_stages(net, photo, device)] for photo in photos]
    heights = [round(CELL_WIDTH * photo.shape[0] / photo.shape[1]) for photo in photos]
    grid = Image.new("RGB", (CELL_WIDTH * len(COLUMNS), CAPTION_HEIGHT + sum(heights)), "white")
    draw = ImageDraw.Draw(grid)
    for column, caption in enumerate(COLUMNS):
        draw.text((column * CELL_WIDTH + 4, 2), caption, fill="black")
    top = CAPTION_HEIGHT
    for row, height in zip(rows, heights, strict=True):
        for column, pixels in enumerate(row):
            cell = Image.fromarray(pixels).resize((CELL_WIDTH, height), Image.Resampling.LANCZOS)
            grid.paste(cell, (column * CELL_WIDTH, top))
        top += height
    return grid


@torch.inference_mode()
def run_stages(net: RetinexNet, photo: Pixels, device: torch.device) -> list[Pixels]:
    """Return R, I, Î and the output as uint8 images."""
    stages = net(to_tensor([photo]).to(device))
    images = (stage[0].clamp(0, 1).mul(255).round().byte().cpu() for stage in stages)
    return [np.ascontiguousarray(image.permute(1, 2, 0).squeeze(2).numpy()) for image in images]
