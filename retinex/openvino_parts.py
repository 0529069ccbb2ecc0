"""How OpenVINO takes an ONNX file: with no optional input, and without what concerns whole photos.

OpenVINO computes in bf16 where that is faster (`retinex.device`). That changes pixels by a step of
255 or two, each in its own way; but rounding what is decided of the whole photo, such as how bright
it becomes, changes all of them alike. So onnxruntime's own provider computes that, in float32. And
what would be rounded most harmfully, the weights where photos and factors enter and leave the
networks, is given to OpenVINO in two parts.
"""

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidProtobuf

from retinex.thumbnail import DESCRIPTION

FEW_CHANNELS = 16
"""Convolutions of so few input or output channels take little time: those that read a photo or its
factors, and the one that gives the factors in phases."""

Values = NDArray[np.float32]


def take_apart(model: Path | bytes, *, in_bf16: bool) -> tuple[bytes | None, bytes]:
    """Take an ONNX file, or the bytes of one, apart where it has described the whole photo.

    Args:
        in_bf16: prepare the second part for computing in bf16.

    Returns:
        two ONNX files: one that gives the `DESCRIPTION` of image and thumbnail, None where no
        values are called so; and the rest, which takes image and description.

    Raises:
        InvalidProtobuf: it isn't an ONNX file.
    """
    try:
        whole = onnx.load_model_from_string(model) if isinstance(model, bytes) else onnx.load(model)
    except DecodeError as error:
        raise InvalidProtobuf(str(error)) from error
    require_all_inputs(whole)
    describer, pixels = take_description_off(whole)
    if in_bf16:
        split_weights(pixels.graph)
    return describer and describer.SerializeToString(), pixels.SerializeToString()


def take_description_off(whole: onnx.ModelProto) -> tuple[onnx.ModelProto | None, onnx.ModelProto]:
    """Return what gives the description, if there is such a part, and the rest."""
    made = {name for node in whole.graph.node for name in node.output}
    if not made.issuperset(DESCRIPTION):
        return None, whole
    inputs = [value.name for value in whole.graph.input]
    outputs = [value.name for value in whole.graph.output]
    extractor = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(whole))
    describer = extractor.extract_model(inputs, list(DESCRIPTION))
    pixels = extractor.extract_model(["image", *DESCRIPTION], outputs)
    pixels.metadata_props.extend(whole.metadata_props)
    return describer, pixels


def require_all_inputs(model: onnx.ModelProto) -> None:
    """Make the optional input required: OpenVINO's provider can't bind it otherwise."""
    inputs = {value.name for value in model.graph.input}
    weights = [weight for weight in model.graph.initializer if weight.name not in inputs]
    del model.graph.initializer[:]
    model.graph.initializer.extend(weights)


def split_weights(graph: onnx.GraphProto) -> None:
    """Let convolutions of few channels have weights of nearly float32's precision in bf16, too.

    Each weight becomes two, its nearest bf16 number and what is left. Both read the input channels
    if these are few; else each gives the output channels, which are added. Convolutions without a
    bias, which give terms of a sum, gain nothing by that.
    """
    stored = {values.name: values for values in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        match values_of_conv(node, stored):
            case [weights, *_] if weights.shape[1] <= FEW_CHANNELS:
                nodes.extend(read_twice(graph, node, weights))
            case [weights, bias] if weights.shape[0] <= FEW_CHANNELS:
                nodes.extend(add_two(graph, node, weights, bias))
            case _:
                nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def values_of_conv(node: onnx.NodeProto, stored: dict[str, onnx.TensorProto]) -> list[Values]:
    """Return the weights of a convolution in float32 and its bias, if it has one; else nothing.

    float16, with 3 bits more than bf16, is left as it is, and so are groups of channels.
    """
    names = node.input[1:]
    grouped = any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)
    if node.op_type != "Conv" or grouped or not stored.keys() >= set(names):
        return []
    values = [onnx.numpy_helper.to_array(stored[name]) for name in names]
    return values if values[0].dtype == np.float32 else []


def read_twice(
    graph: onnx.GraphProto, conv: onnx.NodeProto, weights: Values
) -> list[onnx.NodeProto]:
    """Let both parts of the weights read the channels, which are repeated."""
    give(graph, conv, 1, np.concatenate(in_two(weights), axis=1))
    twice = f"{conv.output[0]}_reads"
    repeat = onnx.helper.make_node("Concat", [conv.input[0]] * 2, [twice], axis=1)
    conv.input[0] = twice
    return [repeat, conv]


def add_two(
    graph: onnx.GraphProto, conv: onnx.NodeProto, weights: Values, bias: Values
) -> list[onnx.NodeProto]:
    """Let each part of the weights give the channels, which are added."""
    give(graph, conv, 1, np.concatenate(in_two(weights)))
    give(graph, conv, 2, np.concatenate([bias, np.zeros_like(bias)]))
    (result,) = conv.output
    both, parts = f"{result}_both", [f"{result}_{part}" for part in range(2)]
    conv.output[0] = both
    split = onnx.helper.make_node("Split", [both], parts, axis=1, num_outputs=2)
    return [conv, split, onnx.helper.make_node("Add", parts, [result])]


def in_two(weights: Values) -> tuple[Values, Values]:
    """Return the bf16 numbers nearest to some weights, and what is left of these."""
    nearest = weights.astype(ml_dtypes.bfloat16).astype(np.float32)
    return nearest, weights - nearest


def give(graph: onnx.GraphProto, conv: onnx.NodeProto, place: int, values: Values) -> None:
    """Give a convolution values of its own: what it had, others may have, too."""
    name = f"{conv.output[0]}_input_{place}"
    graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    conv.input[place] = name


def make_convolution() -> bytes:
    """Make an ONNX file of one 3×3 convolution of `features`, (1, 64, 96, 96) float32."""
    shape = (1, 64, 96, 96)
    features, sums = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name in ("features", "sums")
    )
    weights = onnx.numpy_helper.from_array(np.ones((64, 64, 3, 3), np.float32), "weights")
    conv = onnx.helper.make_node("Conv", ["features", "weights"], ["sums"], pads=[1, 1, 1, 1])
    graph = onnx.helper.make_graph([conv], "convolution", [features], [sums], [weights])
    # As the networks' files: onnxruntime may not know onnx's newest versions yet.
    versions = {"opset_imports": [onnx.helper.make_opsetid("", 18)], "ir_version": 10}
    file: bytes = onnx.helper.make_model(graph, **versions).SerializeToString()
    return file
