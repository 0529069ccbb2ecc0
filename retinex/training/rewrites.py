"""The trained networks made cheaper without changing what they compute: the form that is exported.

RetinexNet's have linear layers back to back, which merge; and what Enhance-Net does at full size
can be done at half the size, in *phases*: the four maps of the pixels at even and odd rows and
columns, stacked as channels in the order of `functional.pixel_shuffle`. PlusNet reads the photo
and grows its maps without moving pixels, and in a way that is right on WebGPU, too.

Zero padding between merged layers is what can't be merged, so the outermost pixels come out
differently. The photo's pixels don't, by the border that `portable.add_border` gives each
network: Decom-Net's differences end within it; Enhance-Net's input is 0 in its outermost pixels,
and sizes are multiples of 8.

`benchmarks/rewrites.py` measures what each rewrite gains.
"""

import copy
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional

from retinex.training.build import Network
from retinex.training.networks import (
    CHANNELS,
    DecomNet,
    Decomposition,
    EnhanceNet,
    ResizeUp,
    RetinexNet,
    TransposedUp,
)
from retinex.training.plus_blocks import Up
from retinex.training.plus_network import PlusNet

PHASES = tuple(product(range(2), repeat=2))
"""Row and column of a pixel within its 2×2 block."""
TAPS = tuple(product(range(3), repeat=2))
"""Row and column in a 3×3 kernel."""


def rewrite(net: Network) -> Network:
    """Return a network that computes what `net` does, faster; `net` is left as it is.

    But Decom-Net takes photos whose white is `decom.white`.
    """
    rewritten = copy.deepcopy(net)
    if isinstance(rewritten, PlusNet):
        read_pixels_in_place(rewritten)
        place_grown_pixels(rewritten)
        return rewritten
    merge_first_convolutions(rewritten.decom)
    read_exact_numbers(rewritten.decom)
    compute_factors_in_phases(rewritten.decom)
    if rewritten.enhance is not None:
        merge_enhance_net(rewritten)
    return rewritten


def read_pixels_in_place(net: PlusNet) -> None:
    """Let PlusNet's first convolution read the photo as it is, in place of its phases.

    A 3×3 convolution of phases is a 6×6 one of pixels, of stride 2. Nor does a photo need padding:
    with its border, its sizes are multiples of the stride.
    """
    weight, bias = kernel(net.input_conv)
    out_channels, phases, *_ = weight.shape
    by_phase = weight.reshape(out_channels, phases // 4, 2, 2, 3, 3)
    pixels = by_phase.permute(0, 1, 4, 2, 5, 3).reshape(out_channels, phases // 4, 6, 6)
    net.add_module("pad", nn.Identity())
    net.add_module("unshuffle", RepeatChannel())
    net.input_conv = new_conv(functional.pad(pixels, (0, 0, 0, 0, 0, 1)), bias, stride=2, padding=2)


class RepeatChannel(nn.Module):
    """Repeats the first of 6 channels as a 7th, whose weights are 0.

    onnxruntime's convolutions of 6 channels are wrong on WebGPU (its issue 29651, version 1.30).
    """

    def forward(self, features: Tensor) -> Tensor:
        """Return (b, c + 1, h, w)."""
        return torch.cat([features, features[:, :1]], dim=1)


def place_grown_pixels(net: PlusNet) -> None:
    """Let transposed convolutions double PlusNet's sizes: they place the pixels themselves.

    Moving apart the pixels of 4 phases takes longer than the convolution that makes them.
    """
    for name in ("from_eighth", "from_quarter"):
        net.add_module(name, PlacingUp(net.get_submodule(name)))


class PlacingUp(nn.Module):
    """An `Up` by one transposed convolution.

    `Up` has a bias for each of a block's 4 pixels, a transposed convolution one for all. So a
    channel of ones carries them; three more let WebGPU read channels 4 at a time.
    """

    ONES = 4

    def __init__(self, up: nn.Module) -> None:
        super().__init__()
        assert isinstance(up, Up)
        weight, bias = kernel(up.conv)
        with_bias = functional.pad(
            torch.cat([weight[:, :, 0, 0], bias[:, None]], dim=1), (0, self.ONES - 1)
        )
        phases, in_channels = with_bias.shape
        self.conv = nn.ConvTranspose2d(in_channels, phases // 4, 2, stride=2, bias=False)
        self.conv.weight = nn.Parameter(with_bias.T.reshape(in_channels, phases // 4, 2, 2).float())

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        """Grow `features`, (b, c, h, w), to the size of `skip` and add it."""
        grown: Tensor = self.conv(functional.pad(features, (0, 0, 0, 0, 0, self.ONES), value=1.0))
        return grown + skip


def merge_first_convolutions(decom: DecomNet) -> None:
    """Make one 5×5 convolution of Decom-Net's two first ones, which no activation separates."""
    merged = merge(*kernel(decom.input_conv), *kernel(decom.convs[0]))
    decom.add_module("input_conv", nn.Identity())
    decom.convs[0] = new_conv(*merged, padding=2)


def read_exact_numbers(decom: DecomNet) -> None:
    """Let Decom-Net read a photo of 256ths, which bf16 has, not of 255ths, which it would round.

    That was a large part of what bf16 changed in the stages; it makes nothing faster.
    """
    decom.white = 255 / 256
    weight, bias = kernel(decom.convs[0])
    decom.convs[0] = new_conv(weight / decom.white, bias, padding=2)


def compute_factors_in_phases(decom: DecomNet) -> None:
    """Let Decom-Net's last convolution give the 4 phases of its 4 channels.

    Where a convolution has few output channels, loading its input is what takes the time; 16
    channels at half the size load it less often.
    """
    weight, bias = kernel(decom.output_conv)
    in_phases = new_conv(split_output(weight), bias.repeat_interleave(4), stride=2, padding=1)
    decom.add_module("output_conv", nn.Sequential(in_phases, nn.PixelShuffle(2)))


def merge_enhance_net(net: RetinexNet) -> None:
    """Put a `MergedEnhanceNet` in Enhance-Net's place."""
    assert net.enhance is not None
    net.add_module("enhance", MergedEnhanceNet(net.enhance))


class MergedEnhanceNet(nn.Module):
    """Enhance-Net without maps of many channels at full size.

    - The first convolution merges with each of the two that read it.
    - From the sum of the finest decoder map and its skip on, all is linear: fuse and output
      convolution merge, and each scale has its own part of the result, computed at its own size.
    - The finest decoder step computes phases at half size from pixels that were never repeated.
    - Nothing has to be cut off between scales.
    """

    def __init__(self, net: EnhanceNet) -> None:
        super().__init__()
        first_weight, first_bias = kernel(net.input_conv)
        fused, bias = merge(*kernel(net.fuse), *kernel(net.output_conv))
        from_quarter, from_half, from_full = fused.chunk(3, dim=1)

        # A channel of ones carries the first bias, so that it is missing outside of the map.
        with_bias = functional.pad(first_weight, (0, 0, 0, 0, 0, 1))
        with_bias[:, -1, 1, 1] = first_bias
        merged = merge(with_bias, torch.zeros_like(first_bias), *kernel(net.down[0]))
        self.down = nn.ModuleList([new_conv(*merged, stride=2, padding=2), *net.down[1:]])
        coarse_steps = map(without_crop, net.up[:2])
        self.up = nn.ModuleList([*coarse_steps, new_conv(*phase_kernels(net.up[2]), padding=1)])
        self.part_of_full = new_conv(on_phases(from_full))
        merged = merge(with_bias, torch.zeros_like(first_bias), from_full, bias)
        self.part_of_skip = new_conv(
            split_output(merged[0]), merged[1].repeat_interleave(4), stride=2, padding=2
        )
        self.part_of_half = new_conv(on_repeated(from_half, 2), padding=1)
        self.part_of_quarter = new_conv(on_repeated(from_quarter, 4), padding=1)

    def forward(self, decomposition: Decomposition) -> Tensor:
        """Return Î, (b, 1, h, w), not clamped; h and w are multiples of 8."""
        ones = torch.ones_like(decomposition.illumination)
        full = torch.cat((*decomposition, ones), dim=1)
        half = functional.relu(self.down[0](full))
        quarter = functional.relu(self.down[1](half))
        eighth = functional.relu(self.down[2](quarter))

        up_quarter = functional.relu(self.up[0](eighth)) + quarter
        up_half = functional.relu(self.up[1](up_quarter)) + half
        up_full = functional.relu(self.up[2](up_half))

        phases = self.part_of_skip(full) + self.part_of_full(up_full) + self.part_of_half(up_half)
        enhanced_illumination = functional.pixel_shuffle(phases, 2)
        coarse = functional.pixel_shuffle(self.part_of_quarter(up_quarter), 4)
        return enhanced_illumination + coarse


def kernel(conv: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight (out, in, rows, columns) and bias (out) of a convolution, in float64.

    A transposed one's weight is (in, out, rows, columns).
    """
    assert isinstance(conv, nn.Conv2d | nn.ConvTranspose2d) and conv.bias is not None
    return conv.weight.detach().double(), conv.bias.detach().double()


def new_conv(
    weight: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0
) -> nn.Conv2d:
    """Build a float32 convolution of `weight` (out, in, k, k) and `bias` (out)."""
    out_channels, in_channels, size, _ = weight.shape
    conv = nn.Conv2d(in_channels, out_channels, size, stride, padding, bias=bias is not None)
    conv.weight = nn.Parameter(weight.float())
    if bias is not None:
        conv.bias = nn.Parameter(bias.float())
    return conv


def merge(
    first: Tensor, first_bias: Tensor, second: Tensor, second_bias: Tensor
) -> tuple[Tensor, Tensor]:
    """Return weight and bias of the one convolution that equals `second` after `first`.

    Kernels of sizes k and l make one of k + l - 1.
    """
    reach = second.shape[2] - 1
    merged = functional.conv2d(first.transpose(0, 1), second.flip(2, 3), padding=reach)
    return merged.transpose(0, 1), second_bias + second.sum(dim=(2, 3)) @ first_bias


def split_output(weight: Tensor) -> Tensor:
    """Turn a k×k kernel (out, in, k, k) into one of stride 2 that gives its output's phases.

    Returns (4 out, in, k + 1, k + 1): the kernel at the four places of a block.
    """
    out_channels, in_channels, size, _ = weight.shape
    split = weight.new_zeros(out_channels, 2, 2, in_channels, size + 1, size + 1)
    for row, column in PHASES:
        split[:, row, column, :, row : row + size, column : column + size] = weight
    return split.flatten(0, 2)


def on_repeated(weight: Tensor, scale: int) -> Tensor:
    """Turn a 3×3 kernel on maps of repeated pixels into one on the maps before repetition.

    Returns (out · scale², in, 3, 3), which gives the output in scale × scale phases.
    """
    out_channels, in_channels = weight.shape[:2]
    coarse = weight.new_zeros(out_channels, scale, scale, in_channels, 3, 3)
    for row, column in product(range(scale), repeat=2):
        for y, x in TAPS:
            # Pixels are repeated from the coarse one that their position is in.
            coarse_y, coarse_x = (row + y - 1) // scale + 1, (column + x - 1) // scale + 1
            coarse[:, row, column, :, coarse_y, coarse_x] += weight[:, :, y, x]
    return coarse.flatten(0, 2)


def without_crop(step: nn.Module) -> nn.Module:
    """Return the layers of a decoder step that double the size: of whole strides all is kept."""
    assert isinstance(step, ResizeUp | TransposedUp)
    if isinstance(step, ResizeUp):
        return nn.Sequential(nn.Upsample(scale_factor=2), step.conv)
    return step.conv


def phase_kernels(step: nn.Module) -> tuple[Tensor, Tensor]:
    """Turn a decoder step's convolution into one at the size of its input, with 4 · out channels.

    Phases come first in the order of channels. Output pixel (j, k) of the 2×2 kernel with padding 1
    is, for the phases of even rows, row 2j of the step's map; for those of odd rows, row 2j - 1; so
    for columns. Hence all four read the same input pixels: j - 1 and j.
    """
    assert isinstance(step, ResizeUp | TransposedUp)
    weight, bias = kernel(step.conv)
    phases = []
    if isinstance(step, ResizeUp):
        repeated = on_repeated(weight, 2).reshape(CHANNELS, 2, 2, CHANNELS, 3, 3)
        for row, column in PHASES:
            phases.append(repeated[:, row, column, :, row : row + 2, column : column + 2])
    else:
        # Tap y of input row i goes to row 2i + y - 1.
        taps = {0: (None, 1), 1: (2, 0)}
        for row, column in PHASES:
            phase = weight.new_zeros(CHANNELS, CHANNELS, 2, 2)
            for (y, tap_y), (x, tap_x) in product(enumerate(taps[row]), enumerate(taps[column])):
                if tap_y is not None and tap_x is not None:
                    phase[:, :, y, x] = weight[:, :, tap_y, tap_x].T
            phases.append(phase)
    return torch.cat(phases), bias.repeat(4)


def on_phases(weight: Tensor) -> Tensor:
    """Turn a 3×3 kernel (1, in, 3, 3) into one on the phases that `phase_kernels` gives.

    Returns (4, 4 · in, 2, 2), to be used without padding.
    """
    split = weight.new_zeros(2, 2, 2, 2, weight.shape[1], 2, 2)
    for row, column in PHASES:
        for y, x in TAPS:
            read_row, read_column = row + y - 1, column + x - 1
            phase_row, phase_column = read_row % 2, read_column % 2
            taps = split[row, column, phase_row, phase_column]
            taps[:, read_row // 2 + phase_row, read_column // 2 + phase_column] = weight[0, :, y, x]
    return split.flatten(2, 4).flatten(0, 1)
