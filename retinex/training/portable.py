"""The networks on 8-bit images of channels-last layout: what an ONNX file computes."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from retinex.photo import Pixels
from retinex.training.build import Network
from retinex.training.networks import STRIDE, Decomposition, RetinexNet, RetinexStages
from retinex.training.plus_network import HEADS, PlusNet, compose, shrink

BORDER = 8
"""Pixels around the photo that the networks see but that aren't part of the result, at least.

Their zero padding would otherwise show as a pale border. More than Decom-Net's receptive radius.
"""
WIDE_BORDER = 16
"""The same for Enhance-Net and PlusNet, which look further: with 8 the frame of Î would differ by
up to 4 %. A multiple of their stride, so that tiles stay on its grid."""


class PortableRetinexNet(nn.Module):
    """RetinexNet on 8-bit images; each of its two networks sees its input with a border."""

    def __init__(self, net: RetinexNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Enhance `image`, uint8 (b, h, w, 3), into the four outputs of the contract."""
        height, width = image.shape[1], image.shape[2]
        factors = self.net.decom(add_border(to_photo(image, self.net.decom.white)))
        decomposition = Decomposition(*(crop_border(factor, height, width) for factor in factors))
        if self.net.enhance is None:
            enhanced_illumination = torch.ones_like(decomposition.illumination)
        else:
            bordered = Decomposition(*(add_border(factor, WIDE_BORDER) for factor in decomposition))
            enhanced = self.net.enhance(bordered)
            enhanced_illumination = crop_border(enhanced, height, width, WIDE_BORDER)
        output = decomposition.reflectance * enhanced_illumination
        stages = RetinexStages(*decomposition, enhanced_illumination, output)
        return tuple(map(to_image, stages))


class PortablePlusNet(nn.Module):
    """PlusNet on 8-bit images: of a photo, or of a tile and the thumbnail of its photo.

    Its stages are made phase by phase, as what moves pixels of 8 bits moves the least memory.
    """

    def __init__(self, net: PlusNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor, thumbnail: Tensor | None = None) -> tuple[Tensor, ...]:
        """Enhance `image`, uint8 (b, h, w, 3).

        Args:
            thumbnail: uint8 (b, 64, 64, 3) of the photos `image` is a tile of, or (1, 64, 64, 3) of
                the photo that all are of; none, or (0, 64, 64, 3) as in an ONNX file, if it is the
                whole.
        """
        batch, height, width = image.shape[:3]
        thumbnails = to_photo(make_thumbnail(image))
        if thumbnail is not None:
            # Whichever come first are used: an ONNX file needs no condition.
            given = to_photo(thumbnail).repeat(batch, 1, 1, 1)
            thumbnails = torch.cat([given, thumbnails])[:batch]
        heads = self.net.heads(add_border(to_photo(image), WIDE_BORDER), thumbnails)
        half = (height + 1) // 2, (width + 1) // 2
        heads = crop_border(heads, *half, WIDE_BORDER // 2)
        of_phases = heads.reshape(batch, HEADS, 4, *half).transpose(1, 2).flatten(0, 1)
        stages = compose(split_phases(image), of_phases)
        return tuple(join_phases(to_bytes(stage), height, width) for stage in stages)


def build_portable(net: Network) -> PortableRetinexNet | PortablePlusNet:
    """Wrap a network so that it takes and gives what an ONNX file does."""
    return PortablePlusNet(net) if isinstance(net, PlusNet) else PortableRetinexNet(net)


@torch.inference_mode()
def run_in_torch(net: Network, image: Pixels, thumbnail: Pixels | None = None) -> list[Pixels]:
    """Compute what an ONNX file does, where `net` is.

    Args:
        image: uint8 (b, h, w, 3).
        thumbnail: uint8 (b, 64, 64, 3) of the photos it is part of; None if it is the whole.
    """
    return run_portable(build_portable(net), image, thumbnail)


def run_portable(
    module: PortableRetinexNet | PortablePlusNet, image: Pixels, thumbnail: Pixels | None = None
) -> list[Pixels]:
    """Run `module` as `run_in_torch` does; only PlusNet's uses the thumbnail."""
    inputs = [image]
    if thumbnail is not None and isinstance(module, PortablePlusNet):
        inputs.append(thumbnail)
    device = next(module.parameters()).device
    outputs = module(*(torch.tensor(pixels, device=device) for pixels in inputs))
    return [output.cpu().numpy() for output in outputs]


def to_photo(image: Tensor, white: float = 1.0) -> Tensor:
    """Make a uint8 (b, h, w, 3) image float (b, 3, h, w) in [0, white]."""
    return from_bytes(image.permute(0, 3, 1, 2), white)


def to_image(stage: Tensor) -> Tensor:
    """Make a float (b, c, h, w) stage uint8 (b, h, w, c)."""
    return to_bytes(stage).permute(0, 2, 3, 1)


def from_bytes(values: Tensor, white: float = 1.0) -> Tensor:
    """Make uint8 values float in [0, white]."""
    return values.float() / (255.0 / white)


def to_bytes(values: Tensor) -> Tensor:
    """Make float values uint8, clipped to [0, 1]."""
    return (values.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)


def split_phases(image: Tensor) -> Tensor:
    """Make a uint8 (b, h, w, 3) image float (4b, 3, h / 2, w / 2): the pixels of its 2×2 blocks.

    Of each image the four come one after the other, in the order of `functional.pixel_shuffle`.
    Sizes are rounded up.
    """
    batch, height, width = image.shape[:3]
    half = (height + 1) // 2, (width + 1) // 2
    even = torch.cat([image, image[:, : height % 2]], dim=1)
    even = torch.cat([even, even[:, :, : width % 2]], dim=2)
    # First rows, then columns: a row stays a piece of memory, and two pixels become channels.
    of_rows = even.reshape(batch, half[0], 2, half[1] * 6).transpose(1, 2)
    pairs = of_rows.reshape(2 * batch, *half, 6).permute(0, 3, 1, 2)
    return from_bytes(pairs.reshape(4 * batch, 3, *half))


def join_phases(phases: Tensor, height: int, width: int) -> Tensor:
    """Undo `split_phases` on a uint8 (4b, c, h / 2, w / 2) stage: (b, h, w, c)."""
    channels, *half = phases.shape[1:]
    pairs = phases.reshape(-1, 2 * channels, *half).permute(0, 2, 3, 1)
    of_rows = pairs.reshape(-1, 2, half[0], half[1] * 2 * channels).transpose(1, 2)
    return of_rows.reshape(-1, 2 * half[0], 2 * half[1], channels)[:, :height, :width]


def mirrored_positions(size: int, border: int, device: torch.device) -> Tensor:
    """Index an axis of `size` pixels with those of its border, mirrored at the edges.

    The border's outermost pixels are left out. Axes shorter than the border repeat their last pixel
    where the mirror image ends.
    """
    last = size - 1
    whole_strides = (size + STRIDE - 1) // STRIDE * STRIDE
    positions = torch.arange(1 - border, whole_strides + border - 1, device=device).abs()
    return (last - (last - positions).abs()).clamp(min=0)


def add_border(maps: Tensor, border: int = BORDER) -> Tensor:
    """Surround float (b, c, h, w) maps with their mirror image and, outermost, one pixel of 0.

    There are `border` pixels at the top and left; at the bottom and right up to `STRIDE` - 1 more,
    to make sizes multiples of `STRIDE`. The zeros make the networks' zero padding begin within the
    border, which `retinex.training.rewrites` needs to be exact.
    """
    for axis in (2, 3):
        size = maps.shape[axis]
        positions = mirrored_positions(size, border, maps.device)
        # Not all positions at once: gathering pixels one by one takes far longer than copying.
        before, after = positions[: border - 1], positions[border - 1 + size :]
        sides = maps.index_select(axis, before), maps.index_select(axis, after)
        maps = torch.cat([sides[0], maps, sides[1]], dim=axis)
    return functional.pad(maps, (1, 1, 1, 1))


def crop_border(maps: Tensor, height: int, width: int, border: int = BORDER) -> Tensor:
    """Undo `add_border` on maps of a photo of `height` × `width` pixels."""
    return maps[:, :, border : border + height, border : border + width]


def make_thumbnail(image: Tensor) -> Tensor:
    """`retinex.thumbnail.make_thumbnail` in PyTorch: uint8 (b, h, w, 3) to (b, 64, 64, 3)."""
    planes = shrink(image.permute(0, 3, 1, 2).float())
    return planes.permute(0, 2, 3, 1).round().to(torch.uint8)
