"""The networks: Decom-Net, Enhance-Net and RetinexNet.

They are those of Wei et al., "Deep Retinex Decomposition for Low-Light Enhancement", BMVC 2018,
in the sizes of the 2022 student study this project follows.

All maps are float tensors of shape (batch, channels, height, width); photos have values in [0, 1].
Every height and width from 1 up is allowed and kept.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from retinex.experiments import Experiment, Upsampling

CHANNELS = 64
STRIDE = 8
"""Shifts by multiples of this commute with Enhance-Net and PlusNet."""


class Decomposition(NamedTuple):
    """Decom-Net's factors of a photo S = R · I."""

    reflectance: Tensor
    """R, (b, 3, h, w) in [0, 1]."""
    illumination: Tensor
    """I, (b, 1, h, w) in [0, 1]."""


class RetinexStages(NamedTuple):
    """All that RetinexNet, or PlusNet, makes of a dark photo."""

    reflectance: Tensor
    """R, (b, 3, h, w) in [0, 1]."""
    illumination: Tensor
    """I, (b, 1, h, w) in [0, 1]."""
    enhanced_illumination: Tensor
    """Î, (b, 1, h, w); Enhance-Net's isn't clamped, as it ends in a plain convolution."""
    output: Tensor
    """R · Î, (b, 3, h, w), not clamped."""


def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """A 3×3 convolution with zero padding; stride 2 rounds sizes up."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1)


class OutputConv(nn.Conv2d):
    """A network's last 3×3 convolution: in float32 even where the others run in bf16.

    bf16 has 128 values from 0.5 to 1. In a smooth illumination nearly all neighbours would be
    equal, and the smoothness that the losses ask for would have no gradient.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Return (b, out_channels, h, w), in float32 within autocast."""
        if not torch.is_autocast_enabled(features.device.type):
            return super().forward(features)
        with torch.autocast(features.device.type, enabled=False):
            return super().forward(features.float())


def initialise(net: nn.Module) -> None:
    """Draw the weights of all convolutions after He et al., ICCV 2015; biases start at 0.

    PyTorch's default shrinks the signal in every layer: after 400 steps Decom-Net's loss was a
    third lower with this (Glorot's, which the paper's code used, came in between), and colours,
    the weakest part of a dark photo's signal, appeared much sooner.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            assert module.bias is not None
            nn.init.zeros_(module.bias)


def start_at_one(output_conv: nn.Conv2d) -> None:
    """Make Enhance-Net's last convolution give Î = 1 before training.

    A random Î throws Decom-Net off for good where both are trained together.
    """
    assert output_conv.bias is not None
    nn.init.zeros_(output_conv.weight)
    nn.init.ones_(output_conv.bias)


class DecomNet(nn.Module):
    """Splits a photo into reflectance and illumination at full size."""

    white: float = 1.0
    """Value of white in the photos it takes; `retinex.training.rewrites` changes it."""

    def __init__(self) -> None:
        super().__init__()
        self.input_conv = conv3x3(3, CHANNELS)
        self.convs = nn.ModuleList(conv3x3(CHANNELS, CHANNELS) for _ in range(5))
        self.output_conv = OutputConv(CHANNELS, 4)

    def forward(self, photo: Tensor) -> Decomposition:
        """Decompose `photo`, (b, 3, h, w) in [0, white]."""
        features = self.input_conv(photo)
        for conv in self.convs:
            features = functional.relu(conv(features))
        factors = torch.sigmoid(self.output_conv(features))
        return Decomposition(reflectance=factors[:, :3], illumination=factors[:, 3:])


def crop_to(features: Tensor, target: Tensor) -> Tensor:
    """Cut rows and columns off the bottom right until `features` is as large as `target`."""
    return features[:, :, : target.shape[2], : target.shape[3]]


def repeat_pixels(features: Tensor, scale: int) -> Tensor:
    """Nearest-neighbour upsampling: every pixel becomes `scale` × `scale` equal ones.

    An integer scale followed by a crop, not a resize to the wanted size: at sizes that aren't
    multiples of the scale the latter drifts by up to a pixel across the photo.
    """
    return functional.interpolate(features, scale_factor=scale, mode="nearest")


class ResizeUp(nn.Module):
    """Doubles the size by nearest-neighbour resize and a 3×3 convolution, as in the paper."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = conv3x3(CHANNELS, CHANNELS)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        """Grow `features` to the size of `skip` and add it."""
        grown = crop_to(repeat_pixels(features, 2), skip)
        return functional.relu(self.conv(grown)) + skip


class TransposedUp(nn.Module):
    """Doubles the size by a transposed convolution (the study's variant).

    `output_padding=1` appends a row and a column that the crop removes at odd sizes: there the
    values equal those of `output_padding=0`, which allows no other sizes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(
            CHANNELS, CHANNELS, kernel_size=3, stride=2, padding=1, output_padding=1
        )

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        """Grow `features` to the size of `skip` and add it."""
        return functional.relu(crop_to(self.conv(features), skip)) + skip


def upsampling_block(upsampling: Upsampling) -> nn.Module:
    """Build one decoder step of Enhance-Net."""
    return ResizeUp() if upsampling is Upsampling.RESIZE else TransposedUp()


class EnhanceNet(nn.Module):
    """Brightens the illumination: encoder-decoder with multi-scale concatenation."""

    def __init__(self, upsampling: Upsampling) -> None:
        super().__init__()
        self.input_conv = conv3x3(4, CHANNELS)
        self.down = nn.ModuleList(conv3x3(CHANNELS, CHANNELS, stride=2) for _ in range(3))
        self.up = nn.ModuleList(upsampling_block(upsampling) for _ in range(3))
        self.fuse = nn.Conv2d(3 * CHANNELS, CHANNELS, kernel_size=1)
        self.output_conv = OutputConv(CHANNELS, 1)

    def forward(self, decomposition: Decomposition) -> Tensor:
        """Return the enhanced illumination Î, (b, 1, h, w), not clamped."""
        full = self.input_conv(torch.cat(decomposition, dim=1))
        half = functional.relu(self.down[0](full))
        quarter = functional.relu(self.down[1](half))
        eighth = functional.relu(self.down[2](quarter))

        up_quarter = self.up[0](eighth, quarter)
        up_half = self.up[1](up_quarter, half)
        up_full = self.up[2](up_half, full)

        scales = (
            crop_to(repeat_pixels(up_quarter, 4), full),
            crop_to(repeat_pixels(up_half, 2), full),
            up_full,
        )
        enhanced_illumination: Tensor = self.output_conv(self.fuse(torch.cat(scales, dim=1)))
        return enhanced_illumination


class RetinexNet(nn.Module):
    """Decom-Net followed by Enhance-Net: output = R · Î.

    `enhance` is None where the experiment ignores Enhance-Net; Î is 1 then.
    """

    def __init__(self, experiment: Experiment) -> None:
        super().__init__()
        self.decom = DecomNet()
        self.enhance = None if experiment.ignore_enhance else EnhanceNet(experiment.upsampling)
        initialise(self)
        if self.enhance is not None:
            start_at_one(self.enhance.output_conv)

    def brighten(self, decomposition: Decomposition) -> Tensor:
        """Return the enhanced illumination Î, (b, 1, h, w), of a decomposed photo."""
        if self.enhance is None:
            return torch.ones_like(decomposition.illumination)
        enhanced_illumination: Tensor = self.enhance(decomposition)
        return enhanced_illumination

    def forward(self, photo: Tensor) -> RetinexStages:
        """Enhance `photo`, (b, 3, h, w) in [0, 1], or [0, decom.white] if that was changed."""
        decomposition: Decomposition = self.decom(photo)
        enhanced_illumination = self.brighten(decomposition)
        output = decomposition.reflectance * enhanced_illumination
        return RetinexStages(*decomposition, enhanced_illumination, output)
