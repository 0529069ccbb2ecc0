"""The residual blocks of PlusNet, which a description of the whole photo steers (FiLM).

Feature maps are float tensors, (batch, channels, height, width); contexts (batch, CONTEXT).
"""

from torch import Tensor, nn
from torch.nn import functional

from retinex.training.networks import conv3x3

CONTEXT = 128
"""Length of the vector that describes the whole photo."""


class Modulation(nn.Module):
    """Scales and shifts channels as a context says (FiLM, Perez et al., AAAI 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale_and_shift = nn.Linear(CONTEXT, 2 * channels)

    def forward(self, features: Tensor, context: Tensor) -> Tensor:
        """Return `features` · (1 + scale) + shift."""
        scale, shift = self.scale_and_shift(context)[:, :, None, None].chunk(2, dim=1)
        modulated: Tensor = features * (1 + scale) + shift
        return modulated


class PlainBlock(nn.Module):
    """Two convolutions that see all channels, and ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv3x3(channels, channels)
        self.modulation = Modulation(channels)
        self.last = conv3x3(channels, channels)

    def forward(self, features: Tensor, context: Tensor) -> Tensor:
        """Refine `features`, given `context`."""
        hidden = functional.relu(self.modulation(self.first(features), context))
        refined: Tensor = features + self.last(hidden)
        return refined


class GatedBlock(nn.Module):
    """NAFNet's block (Chen et al., ECCV 2022): channels multiply one another, in place of ReLU.

    First pixels see their neighbours, each channel for itself; then channels are mixed. What NAFNet
    takes from the whole map's mean, the context gives: tiles know nothing of the whole.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.neighbours = nn.Sequential(
            ChannelNorm(channels),
            nn.Conv2d(channels, 2 * channels, 1),
            nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels),
        )
        self.modulation = Modulation(channels)
        self.mix_neighbours = nn.Conv2d(channels, channels, 1)
        self.channels = nn.Sequential(ChannelNorm(channels), nn.Conv2d(channels, 2 * channels, 1))
        self.last = nn.Conv2d(channels, channels, 1)

    def forward(self, features: Tensor, context: Tensor) -> Tensor:
        """Refine `features`, given `context`."""
        seen = self.modulation(multiply_halves(self.neighbours(features)), context)
        features = features + self.mix_neighbours(seen)
        refined: Tensor = features + self.last(multiply_halves(self.channels(features)))
        return refined


class ChannelNorm(nn.LayerNorm):
    """Brings the channels of each pixel to one mean and variance."""

    def forward(self, features: Tensor) -> Tensor:
        """Normalise `features`."""
        return super().forward(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def multiply_halves(features: Tensor) -> Tensor:
    """Multiply one half of the channels by the other: NAFNet's SimpleGate."""
    one, other = features.chunk(2, dim=1)
    return one * other


class Blocks(nn.Module):
    """Residual blocks in a row."""

    def __init__(self, *blocks: PlainBlock | GatedBlock) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, features: Tensor, context: Tensor) -> Tensor:
        """Refine `features`, given `context`."""
        for block in self.blocks:
            features = block(features, context)
        return features


class Up(nn.Module):
    """Doubles the size by a 1×1 convolution and pixel shuffle; adds the skipped features."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 4 * out_channels, kernel_size=1)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        """Grow `features` to the size of `skip` and add it."""
        return functional.pixel_shuffle(self.conv(features), 2) + skip


def start_as_identity(block: PlainBlock | GatedBlock) -> None:
    """Let a block begin as the identity, whatever the context: deep networks learn faster so."""
    nn.init.zeros_(block.modulation.scale_and_shift.weight)
    nn.init.zeros_(block.modulation.scale_and_shift.bias)
    nn.init.zeros_(block.last.weight)
    if isinstance(block, GatedBlock):
        nn.init.zeros_(block.mix_neighbours.weight)
