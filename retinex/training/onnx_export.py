"""Export to ONNX: one self-contained file per experiment that takes and gives 8-bit images.

The contract of each file, so that any language can use it without pre- or post-processing:

=====================  ======================  =========================================
input                  uint8                   meaning
=====================  ======================  =========================================
image                  [batch, h, w, 3]        a dark photo, RGB
=====================  ======================  =========================================
output                 uint8                   meaning
=====================  ======================  =========================================
reflectance            [batch, h, w, 3]        R
illumination           [batch, h, w, 1]        I
enhanced_illumination  [batch, h, w, 1]        Î, clipped at white
output                 [batch, h, w, 3]        R · Î, multiplied before clipping and rounding
=====================  ======================  =========================================

Every batch, height and width from 1 up. `metadata_props` hold the experiment, the training facts,
the licence, the project's version and what tiling needs: `receptive_radius` and `stride`.
"""

import copy
import json
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

from retinex import __version__
from retinex.experiments import Experiment, Upsampling
from retinex.photo import Pixels
from retinex.stages import COMPUTED_STAGES
from retinex.training.checkpoints import Facts, write_atomically
from retinex.training.networks import Decomposition, RetinexNet, RetinexStages
from retinex.training.rewrites import rewrite

OPSET = 18
BORDER = 8
"""Pixels around the photo that the networks see but that aren't part of the result, at least.

Their zero padding would otherwise show as a pale border. More than Decom-Net's receptive radius,
and a multiple of Enhance-Net's stride, so that tiles stay on its grid.
"""
STRIDE = 8
"""Enhance-Net halves the size three times: shifts by this many pixels commute with the network."""
SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)


def mirrored_positions(size: int) -> Tensor:
    """Index an axis of `size` pixels with those of its border, mirrored at the edges.

    The border's outermost pixels are left out. Axes shorter than the border repeat their last pixel
    where the mirror image ends.
    """
    last = size - 1
    whole_strides = (size + STRIDE - 1) // STRIDE * STRIDE
    positions = torch.arange(1 - BORDER, whole_strides + BORDER - 1).abs()
    return (last - (last - positions).abs()).clamp(min=0)


def add_border(maps: Tensor) -> Tensor:
    """Surround float (b, c, h, w) maps with their mirror image and, outermost, one pixel of 0.

    There are `BORDER` pixels at the top and left; at the bottom and right up to `STRIDE` - 1 more,
    to make sizes multiples of `STRIDE`. The zeros make the networks' zero padding begin within the
    border, which `retinex.training.rewrites` needs to be exact.
    """
    mirrored = maps.index_select(2, mirrored_positions(maps.shape[2]))
    mirrored = mirrored.index_select(3, mirrored_positions(maps.shape[3]))
    return functional.pad(mirrored, (1, 1, 1, 1))


def crop_border(maps: Tensor, height: int, width: int) -> Tensor:
    """Undo `add_border` on maps of a photo of `height` × `width` pixels."""
    return maps[:, :, BORDER : BORDER + height, BORDER : BORDER + width]


class PortableRetinexNet(nn.Module):
    """RetinexNet on 8-bit images of channels-last layout: what an ONNX file computes.

    Each of the two networks sees its input with a border.
    """

    def __init__(self, net: RetinexNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Enhance `image`, uint8 (b, h, w, 3), into the four outputs of the contract."""
        height, width = image.shape[1], image.shape[2]
        photo = image.permute(0, 3, 1, 2).float() / 255.0
        decomposition = Decomposition(
            *(crop_border(factor, height, width) for factor in self.net.decom(add_border(photo)))
        )
        if self.net.enhance is None:
            enhanced_illumination = torch.ones_like(decomposition.illumination)
        else:
            bordered = Decomposition(*map(add_border, decomposition))
            enhanced_illumination = crop_border(self.net.enhance(bordered), height, width)
        output = decomposition.reflectance * enhanced_illumination
        stages = RetinexStages(*decomposition, enhanced_illumination, output)
        return tuple(map(to_image, stages))


def to_image(stage: Tensor) -> Tensor:
    """Make a float (b, c, h, w) stage uint8 (b, h, w, c)."""
    return (stage.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).permute(0, 2, 3, 1)


def receptive_radius(experiment: Experiment) -> int:
    """Bound the distance, in pixels, over which an input pixel can change an output pixel."""
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


def export_onnx(
    net: RetinexNet, experiment: Experiment, facts: Facts, path: Path, as_trained: bool = False
) -> None:
    """Write `net` to `path` under the contract above; equal inputs give equal bytes.

    What is written is `net` as rewritten by `retinex.training.rewrites`, unless `as_trained`.
    Denormal weights become 0.
    """
    portable = PortableRetinexNet(copy.deepcopy(net) if as_trained else rewrite(net)).eval()
    flush_denormals(portable)
    # A batch of 2 at an odd size: the exporter would take 1 or a multiple of 8 for a constant.
    example = torch.zeros(2, 37, 51, 3, dtype=torch.uint8)
    dimensions = {
        0: torch.export.Dim("batch"),
        1: torch.export.Dim("height"),
        2: torch.export.Dim("width"),
    }
    program = torch.onnx.export(
        portable,
        (example,),
        input_names=["image"],
        output_names=[stage.value for stage in COMPUTED_STAGES],
        dynamic_shapes=(dimensions,),
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    assert program is not None  # None only with the exporter that dynamo=True replaces
    model = program.model_proto
    remove_traces(model)
    name_output_sizes(model)
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


@torch.inference_mode()
def run_in_torch(net: RetinexNet, image: Pixels) -> list[Pixels]:
    """Compute what the exported file computes of `image`, uint8 (b, h, w, 3), in PyTorch."""
    return [output.numpy() for output in PortableRetinexNet(net)(torch.from_numpy(image))]
