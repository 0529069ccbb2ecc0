"""Export to ONNX: one self-contained file per experiment that takes and gives 8-bit images.

The contract of each file, so that any language can use it without pre- or post-processing:

=====================  ======================  =========================================
input                  uint8                   meaning
=====================  ======================  =========================================
image                  [batch, h, w, 3]        a dark photo, RGB
thumbnail, optional    [batch, 64, 64, 3]      `retinex_plus` alone: the photos `image` is a tile of
=====================  ======================  =========================================
output                 uint8                   meaning
=====================  ======================  =========================================
reflectance            [batch, h, w, 3]        R
illumination           [batch, h, w, 1]        I
enhanced_illumination  [batch, h, w, 1]        Î, clipped at white
output                 [batch, h, w, 3]        R · Î, multiplied before clipping and rounding
=====================  ======================  =========================================

Every batch, height and width from 1 up. Who gives a whole photo needs no thumbnail: the file makes
it, as `retinex.thumbnail` does. `metadata_props` hold the experiment, the training facts,
the licence, the project's version and what tiling needs: `receptive_radius` and `stride`.
"""

import json
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from retinex import __version__
from retinex.experiments import Experiment, Mode, Upsampling
from retinex.photo import Pixels
from retinex.stages import COMPUTED_STAGES
from retinex.thumbnail import THUMBNAIL_SIZE
from retinex.training import plus_network
from retinex.training.build import Network
from retinex.training.checkpoints import Facts, write_atomically
from retinex.training.networks import RetinexNet
from retinex.training.plus_network import PlusNet

OPSET = 18
BORDER = 8
"""Pixels the photo is mirrored by on each side before the networks and cropped by after them.

Their zero padding would otherwise show as a pale border. More than Decom-Net's receptive radius,
and a multiple of Enhance-Net's stride, so that tiles stay on its grid.
"""
STRIDE = 8
"""All networks halve the size up to three times: shifts by this many pixels commute with them."""
SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)


def mirrored_positions(size: int) -> Tensor:
    """Index an axis of `size` pixels with `BORDER` more at both ends, mirrored at the edges.

    Axes shorter than the border repeat their last pixel where the mirror image ends.
    """
    last = size - 1
    positions = torch.arange(-BORDER, size + BORDER).abs()
    return (last - (last - positions).abs()).clamp(min=0)


class PortableRetinexNet(nn.Module):
    """RetinexNet on 8-bit images of channels-last layout: what an ONNX file computes."""

    def __init__(self, net: RetinexNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Enhance `image`, uint8 (b, h, w, 3), into the four outputs of the contract."""
        height, width = image.shape[1], image.shape[2]
        stages = self.net(to_bordered_tensor(image))
        return tuple(to_image(stage, height, width) for stage in stages)


class PortablePlusNet(nn.Module):
    """The same of PlusNet, which sees a thumbnail, too."""

    def __init__(self, net: PlusNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor, thumbnail: Tensor) -> tuple[Tensor, ...]:
        """Enhance `image`, uint8 (b, h, w, 3).

        Args:
            thumbnail: uint8 (b, 64, 64, 3) of the photos `image` is a tile of, or (0, 64, 64, 3) if
                it is the whole.
        """
        height, width = image.shape[1], image.shape[2]
        # Whichever comes first is used: no condition is needed.
        thumbnails = torch.cat([thumbnail.float(), make_thumbnail(image)])[: image.shape[0]]
        stages = self.net(to_bordered_tensor(image), thumbnails.permute(0, 3, 1, 2) / 255.0)
        return tuple(to_image(stage, height, width) for stage in stages)


def to_bordered_tensor(image: Tensor) -> Tensor:
    """Turn uint8 (b, h, w, 3) to float (b, 3, h + 2 · BORDER, w + 2 · BORDER) in [0, 1]."""
    bordered = image.index_select(1, mirrored_positions(image.shape[1]))
    bordered = bordered.index_select(2, mirrored_positions(image.shape[2]))
    return bordered.permute(0, 3, 1, 2).float() / 255.0


def area_weights(size: int) -> Tensor:
    """`retinex.thumbnail.area_weights` in PyTorch, for a size that isn't known at export."""
    thumbnail = torch.arange(THUMBNAIL_SIZE)[:, None] * size
    pixel = torch.arange(size)[None, :] * THUMBNAIL_SIZE
    end = torch.minimum(pixel + THUMBNAIL_SIZE, thumbnail + size)
    covered = (end - torch.maximum(pixel, thumbnail)).clamp(min=0).float()
    return covered / covered.sum(dim=1, keepdim=True)


def make_thumbnail(image: Tensor) -> Tensor:
    """`retinex.thumbnail.make_thumbnail` in PyTorch: (b, h, w, 3) to (b, 64, 64, 3), rounded."""
    of_rows, of_columns = area_weights(image.shape[1]), area_weights(image.shape[2])
    planes = of_rows @ image.permute(0, 3, 1, 2).float() @ of_columns.T
    return planes.permute(0, 2, 3, 1).round()


def portable(net: Network) -> PortableRetinexNet | PortablePlusNet:
    """Wrap a network so that it takes and gives what an ONNX file does."""
    return PortablePlusNet(net) if isinstance(net, PlusNet) else PortableRetinexNet(net)


def to_image(stage: Tensor, height: int, width: int) -> Tensor:
    """Crop the border off a float (b, c, h, w) stage and make it uint8 (b, h, w, c)."""
    cropped = stage[:, :, BORDER : BORDER + height, BORDER : BORDER + width]
    return (cropped.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).permute(0, 2, 3, 1)


def receptive_radius(experiment: Experiment) -> int:
    """Bound the distance, in pixels, over which an input pixel can change an output pixel."""
    if experiment.mode is Mode.PLUS:
        return plus_network.RECEPTIVE_RADIUS
    decom = 7  # seven 3×3 convolutions
    if experiment.ignore_enhance:
        return decom
    encoder = 1 + 1 + 2 + 4  # 3×3 convolutions read at full, full, half and quarter size
    # Each decoder step reads one coarse pixel further, at the fine map's spacing; nearest
    # neighbour moves features by up to one more fine pixel.
    per_step = 2 if experiment.upsampling is Upsampling.RESIZE else 1
    decoder = per_step * (4 + 2 + 1)
    upsampled_quarter = 3  # repeating pixels four times moves features by up to three
    output = 1
    return decom + encoder + decoder + upsampled_quarter + output


def flush_denormals(net: nn.Module) -> None:
    """Set weights too small for a normal float32 to 0: they slow CPUs down 10–30 times."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter[parameter.abs() < SMALLEST_NORMAL] = 0.0


def export_onnx(net: Network, experiment: Experiment, facts: Facts, path: Path) -> None:
    """Write `net` to `path` under the contract above; equal inputs give equal bytes.

    Denormal weights of `net` are set to 0.
    """
    module = portable(net).eval()
    flush_denormals(module)
    # A batch of 2 at an odd size: the exporter would take 1 or a multiple of 8 for a constant.
    inputs = {"image": torch.zeros(2, 37, 51, 3, dtype=torch.uint8)}
    dimensions: list[dict[int, object]] = [
        {
            0: torch.export.Dim("batch"),
            1: torch.export.Dim("height"),
            2: torch.export.Dim("width"),
        }
    ]
    if isinstance(net, PlusNet):
        side = THUMBNAIL_SIZE
        inputs["thumbnail"] = torch.zeros(3, side, side, 3, dtype=torch.uint8)
        dimensions.append({0: torch.export.Dim("thumbnails")})
    program = torch.onnx.export(
        module,
        tuple(inputs.values()),
        input_names=list(inputs),
        output_names=[stage.value for stage in COMPUTED_STAGES],
        dynamic_shapes=tuple(dimensions),
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    assert program is not None  # None only with the exporter that dynamo=True replaces
    model = program.model_proto
    remove_traces(model)
    name_output_sizes(model)
    if isinstance(net, PlusNet):
        make_thumbnail_optional(model)
    onnx.helper.set_model_props(model, metadata(experiment, facts))
    onnx.checker.check_model(model, full_check=True)
    write_atomically(path, lambda file: onnx.save(model, file))


def metadata(experiment: Experiment, facts: Facts) -> dict[str, str]:
    """What a file says of itself, as text under sorted keys."""
    return {
        "experiment": experiment.name,
        "licence": str(facts["licence"]),
        "project_version": __version__,
        "receptive_radius": str(receptive_radius(experiment)),
        "stride": str(STRIDE),
        "training": json.dumps(facts, sort_keys=True),
    }


def remove_traces(model: onnx.ModelProto) -> None:
    """Remove stack traces, which hold local paths, from the nodes of `model`."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]


def name_output_sizes(model: onnx.ModelProto) -> None:
    """Call the outputs' sizes what the input's are called; the exporter leaves formulas there."""
    for value in model.graph.output:
        sizes = value.type.tensor_type.shape.dim
        for size, name in zip(sizes, ("batch", "height", "width"), strict=False):
            size.dim_param = name


def make_thumbnail_optional(model: onnx.ModelProto) -> None:
    """Let no thumbnails be what the input holds if it isn't given."""
    none = np.empty((0, THUMBNAIL_SIZE, THUMBNAIL_SIZE, 3), np.uint8)
    model.graph.initializer.append(onnx.numpy_helper.from_array(none, "thumbnail"))


@torch.inference_mode()
def run_in_torch(net: Network, image: Pixels) -> list[Pixels]:
    """Compute what the exported file computes of `image`, uint8 (b, h, w, 3), in PyTorch."""
    inputs = [torch.from_numpy(image)]
    if isinstance(net, PlusNet):
        inputs.append(torch.empty(0, THUMBNAIL_SIZE, THUMBNAIL_SIZE, 3, dtype=torch.uint8))
    return [output.numpy() for output in portable(net)(*inputs)]
