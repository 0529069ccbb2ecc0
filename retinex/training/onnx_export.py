"""Export to ONNX: one self-contained file per experiment that takes and gives 8-bit images.

The contract of each file, so that any language can use it without pre- or post-processing:

=====================  ======================  =========================================
input                  uint8                   meaning
=====================  ======================  =========================================
image                  [batch, h, w, 3]        a dark photo, RGB
thumbnail, optional    [batch, 64, 64, 3]      `retinex_plus` alone: the photos `image` is a tile of
                       or [1, 64, 64, 3]       (the one that all of the batch are of)
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
the licence if these name one, the project's version and what tiling needs: `receptive_radius` and
`stride`.
"""

import copy
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import torch
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel
from torch import nn

from retinex import __version__
from retinex.atomic_writing import write_atomically
from retinex.experiments import Experiment
from retinex.photo import Pixels
from retinex.stages import COMPUTED_STAGES
from retinex.thumbnail import DESCRIPTION, THUMBNAIL_SIZE
from retinex.training.build import Network
from retinex.training.checkpoints import Facts
from retinex.training.networks import STRIDE
from retinex.training.plus_network import PlusNet
from retinex.training.portable import build_portable, run_portable
from retinex.training.rewrites import rewrite

OPSET = 18
LONGEST_SIGHT = 512
"""Width, in pixels, of what receptive radii are measured on."""
SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)


def receptive_radius(net: Network) -> int:
    """Measure over which distance, in pixels, an input pixel can change an output pixel.

    NaN in one pixel spreads through every layer, whatever its weights are.

    Raises:
        ValueError: the network sees further than half the probe.
    """
    probe = torch.zeros(STRIDE, 3, 2 * STRIDE, LONGEST_SIGHT)
    # Kernels are square: one axis will do. How far a pixel is seen depends on its place in the
    # stride's grid.
    places = torch.arange(STRIDE)
    columns = LONGEST_SIGHT // 2 + places
    probe[places, :, :, columns] = torch.nan
    with torch.inference_mode():
        stages = net(probe, torch.zeros(1, 3, 1, 1)) if isinstance(net, PlusNet) else net(probe)
    changed = torch.cat(stages, dim=1).isnan().any(dim=2).any(dim=1)
    place, column = changed.nonzero(as_tuple=True)
    radius = int((column - columns[place]).abs().max())
    if radius >= LONGEST_SIGHT // 2 - STRIDE:
        raise ValueError(f"the network sees {radius} pixels or more: raise LONGEST_SIGHT")
    return radius


def flush_denormals(net: nn.Module) -> None:
    """Set weights too small for a normal float32 to 0: they slow CPUs down 10–30 times."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter[parameter.abs() < SMALLEST_NORMAL] = 0.0


def export_onnx(
    net: Network,
    experiment: Experiment,
    facts: Facts,
    path: Path,
    *,
    as_trained: bool = False,
    fp16: bool = False,
) -> None:
    """Write `net` to `path` under the contract above; equal inputs give equal bytes.

    What is written is `net` as rewritten by `retinex.training.rewrites`, unless `as_trained`.
    Denormal weights become 0. With `fp16`, weights and arithmetic are float16.
    """
    module = build_portable(copy.deepcopy(net) if as_trained else rewrite(net)).eval()
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
    if isinstance(net, PlusNet):
        name_description(model)
        make_thumbnail_optional(model)
    remove_exporter_notes(model)
    name_output_sizes(model)
    if fp16:
        model = to_half(model)
    onnx.helper.set_model_props(model, metadata(net, experiment, facts))
    onnx.checker.check_model(model, full_check=True)
    write_atomically(path, model.SerializeToString())


def metadata(net: Network, experiment: Experiment, facts: Facts) -> dict[str, str]:
    """What a file says of itself, as text under sorted keys."""
    licence = {"licence": str(facts["licence"])} if "licence" in facts else {}
    return {
        "experiment": experiment.name,
        **licence,
        "project_version": __version__,
        "receptive_radius": str(receptive_radius(net)),
        "stride": str(STRIDE),
        "training": json.dumps(facts, sort_keys=True),
    }


def remove_exporter_notes(model: onnx.ModelProto) -> None:
    """Remove stack traces, which hold local paths, and formulas of inner sizes, which are long."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    del model.graph.metadata_props[:], model.graph.value_info[:]


def name_output_sizes(model: onnx.ModelProto) -> None:
    """Call the outputs' sizes what the input's are called; the exporter leaves formulas there."""
    for value in model.graph.output:
        sizes = value.type.tensor_type.shape.dim
        for size, name in zip(sizes, ("batch", "height", "width"), strict=False):
            size.dim_param = name


def name_description(model: onnx.ModelProto) -> None:
    """Give what leaves PlusNet's ContextEncoder its names; reads the exporter's notes."""

    def is_inside(node: onnx.NodeProto) -> bool:
        return any("'net.context'" in note.value for note in node.metadata_props)

    wanted = {name for node in model.graph.node if not is_inside(node) for name in node.input}
    made = [name for node in model.graph.node if is_inside(node) for name in node.output]
    names = dict(zip([name for name in made if name in wanted], DESCRIPTION, strict=True))
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]


def make_thumbnail_optional(model: onnx.ModelProto) -> None:
    """Let no thumbnails be what the input holds if it isn't given."""
    none = np.empty((0, THUMBNAIL_SIZE, THUMBNAIL_SIZE, 3), np.uint8)
    model.graph.initializer.append(onnx.numpy_helper.from_array(none, "thumbnail"))


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return `model` with float16 in place of float32; its inputs and outputs are uint8 anyway."""
    blocked = [op for op in DEFAULT_OP_BLOCK_LIST if op != "Resize"]  # which knows float16 now
    half: onnx.ModelProto = convert_float_to_float16(model, op_block_list=blocked)
    # What the converter leaves behind: two casts of one name, nodes out of order, former types.
    nodes = {tuple(node.output): node for node in half.graph.node}
    del half.graph.node[:], half.graph.value_info[:]
    half.graph.node.extend(nodes.values())
    OnnxModel(half).topological_sort()
    return half


@torch.inference_mode()
def largest_activation(net: Network, images: Iterable[Pixels]) -> float:
    """Return the largest magnitude that layers of the exported form of `net` take or give.

    NaN if there is one. A CPU can't tell by running a float16 file: it computes it in float32.

    Args:
        images: each uint8 (b, h, w, 3), what the network is run on.
    """
    module = build_portable(rewrite(net)).eval()
    largest: list[torch.Tensor] = []

    def note(_: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        largest.extend(
            value.abs().max()
            for value in (*inputs, output)
            if isinstance(value, torch.Tensor) and value.is_floating_point()
        )

    for layer in module.modules():
        layer.register_forward_hook(note)
    for image in images:
        run_portable(module, image)
    return torch.stack(largest).max().item()  # which keeps NaN, as Python's doesn't
