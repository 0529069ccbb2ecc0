"""PlusNet, the network of `retinex_plus`.

The project's own: it makes RetinexNet's stages R, I, Î and R · Î by one small U-Net that works at
half the photo's size, for a quarter of the work. What concerns the photo as a whole, such as how
bright it should become, it decides by a thumbnail. All else is local, so that tiles of a large
photo come out as they would in one pass.

All maps are float tensors of shape (batch, channels, height, width); photos have values in [0, 1].
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from retinex.thumbnail import THUMBNAIL_SIZE
from retinex.training.networks import (
    STRIDE,
    OutputConv,
    RetinexStages,
    conv3x3,
    crop_to,
    initialise,
)
from retinex.training.plus_blocks import (
    CONTEXT,
    Blocks,
    GatedBlock,
    PlainBlock,
    Up,
    start_as_identity,
)

HALF, QUARTER, EIGHTH = 48, 64, 96
"""Channels of the feature maps at a half, a quarter and an eighth of the photo's size."""
HEADS = 6
"""Channels that the stages are made of."""
MIDDLE_GRAY = 0.4
"""Mean that photos are brought to before the network sees them."""
DARKEST_MEAN = 0.01
"""Photos of a lower mean are taken to have this one."""
DARKEST_ILLUMINATION = 1 / 255


class PlusNet(nn.Module):
    """U-Net with three scales of residual blocks; the thumbnail's description steers each block."""

    def __init__(self) -> None:
        super().__init__()
        self.context = ContextEncoder()
        self.pad = PadToStride()
        self.unshuffle = nn.PixelUnshuffle(2)
        # 4 phases of 3 channels, compressed and as they are.
        self.input_conv = conv3x3(4 * 2 * 3, HALF)
        self.half_down = Blocks(PlainBlock(HALF))
        self.to_quarter = nn.Conv2d(HALF, QUARTER, kernel_size=2, stride=2)
        self.quarter_down = Blocks(*(GatedBlock(QUARTER) for _ in range(2)))
        self.to_eighth = nn.Conv2d(QUARTER, EIGHTH, kernel_size=2, stride=2)
        self.eighth = Blocks(*(GatedBlock(EIGHTH) for _ in range(6)))
        self.from_eighth = Up(EIGHTH, QUARTER)
        self.quarter_up = Blocks(*(GatedBlock(QUARTER) for _ in range(3)))
        self.from_quarter = Up(QUARTER, HALF)
        self.half_up = Blocks(PlainBlock(HALF), PlainBlock(HALF))
        self.output_conv = OutputConv(HALF, HEADS * 4)
        initialise(self)
        for module in self.modules():
            if isinstance(module, PlainBlock | GatedBlock):
                start_as_identity(module)
        nn.init.normal_(self.output_conv.weight, std=0.01)  # all stages start flat

    def forward(self, photo: Tensor, thumbnail: Tensor | None = None) -> RetinexStages:
        """Enhance `photo`, (b, 3, h, w) in [0, 1].

        Args:
            thumbnail: the whole photo that `photo` is a part of, (b, 3, 64, 64) in [0, 1]; None if
                `photo` is the whole.
        """
        if thumbnail is None:
            thumbnail = shrink(photo)
        heads = functional.pixel_shuffle(self.heads(photo, thumbnail), 2)
        return compose(photo, crop_to(heads, photo))

    def heads(self, photo: Tensor, thumbnail: Tensor) -> Tensor:
        """Return what `compose` takes, in phases: (b, HEADS · 4, h / 2, w / 2).

        These are the 4 pixels of 2×2 blocks, in the order of `functional.pixel_shuffle`; h and w
        are rounded up to the stride.
        """
        gain, context = self.context(thumbnail)
        padded = self.pad(photo)
        seen = torch.cat([compress(padded * gain), padded], dim=1)
        half = self.half_down(self.input_conv(self.unshuffle(seen)), context)
        quarter = self.quarter_down(self.to_quarter(half), context)
        eighth = self.eighth(self.to_eighth(quarter), context)
        quarter = self.quarter_up(self.from_eighth(eighth, quarter), context)
        half = self.half_up(self.from_quarter(quarter, half), context)
        heads: Tensor = self.output_conv(half)
        return heads


def compose(photo: Tensor, heads: Tensor) -> RetinexStages:
    """Make the stages of `photo`, (b, 3, h, w), and the network's output, (b, HEADS, h, w).

    R is measured, S / I, where the network trusts the photo, and painted by the network where the
    photo is too dark and noisy for that: R = t · S / I + (1 − t) · painted. Light is only added:
    Î is I at least, so that what is bright already stays as it is. Where R would be brighter than
    white, what is too much goes into I and Î, which changes neither product.
    """
    painted, illumination, enhanced_illumination, trust = torch.split(heads, [3, 1, 1, 1], dim=1)
    # Photos are darker than they should become: I starts at 0.12, Î at 0.5.
    illumination = torch.sigmoid(illumination - 2).clamp(min=DARKEST_ILLUMINATION)
    enhanced_illumination = torch.maximum(torch.sigmoid(enhanced_illumination), illumination)
    trust = torch.sigmoid(trust)
    reflectance = trust * photo / illumination + (1 - trust) * torch.sigmoid(painted)
    excess = reflectance.amax(dim=1, keepdim=True).clamp(min=1)
    reflectance = reflectance / excess
    illumination, enhanced_illumination = illumination * excess, enhanced_illumination * excess
    output = reflectance * enhanced_illumination
    return RetinexStages(reflectance, illumination, enhanced_illumination, output)


class PadToStride(nn.Module):
    """Repeats the last row and column until both sizes are multiples of the stride."""

    def forward(self, photo: Tensor) -> Tensor:
        """Grow `photo`, (b, 3, h, w), at its bottom and right."""
        missing = [-size % STRIDE for size in photo.shape[2:]]
        return functional.pad(photo, (0, missing[1], 0, missing[0]), mode="replicate")


class ContextEncoder(nn.Module):
    """Describes the whole photo: by how much to brighten it evenly, and by one vector."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            conv3x3(narrow, wide, stride=2) for narrow, wide in ((3, 32), (32, 64), (64, CONTEXT))
        )
        self.mix = nn.Linear(CONTEXT + 1, CONTEXT)

    def forward(self, thumbnail: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gain that brings `thumbnail`, (b, 3, 64, 64), to middle gray, and its context.

        That is a factor, (b, 1, 1, 1), and a vector, (b, CONTEXT).
        """
        gain = MIDDLE_GRAY / thumbnail.mean(dim=(1, 2, 3), keepdim=True).clamp(min=DARKEST_MEAN)
        features = compress(thumbnail * gain)
        for conv in self.convs:
            features = functional.relu(conv(features))
        pooled = features.mean(dim=(2, 3))
        vector: Tensor = self.mix(torch.cat([pooled, gain.flatten(1).log()], dim=1))
        return gain, functional.relu(vector)


def compress(light: Tensor) -> Tensor:
    """Return x / (1 + x), below 1 for any brightness (Reinhard et al., SIGGRAPH 2002)."""
    return light / (1 + light)


def shrink(photo: Tensor) -> Tensor:
    """Average (b, 3, h, w) over areas to (b, 3, 64, 64); `retinex.thumbnail` in PyTorch."""
    of_rows, of_columns = (area_weights(size, photo.device) for size in photo.shape[2:])
    return of_rows @ photo @ of_columns.T


def area_weights(size: int, device: torch.device) -> Tensor:
    """How much each of `size` pixels in a line counts in each of the thumbnail's: (64, size)."""
    thumbnail = torch.arange(THUMBNAIL_SIZE, device=device)[:, None] * size
    pixel = torch.arange(size, device=device)[None, :] * THUMBNAIL_SIZE
    end = torch.minimum(pixel + THUMBNAIL_SIZE, thumbnail + size)
    covered = (end - torch.maximum(pixel, thumbnail)).clamp(min=0).float()
    return covered / covered.sum(dim=1, keepdim=True)
