"""How OpenVINO takes an ONNX file: with no optional input, and without what concerns whole photos.

OpenVINO computes in bf16 where that is faster (`retinex.device`). That changes pixels by a step of
255 or two, each in its own way; but rounding what is decided of the whole photo, such as how bright
it becomes, changes all of them alike. So onnxruntime's own provider computes that, in float32.
"""

from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidProtobuf

from retinex.thumbnail import DESCRIPTION


def take_apart(model: Path | bytes) -> tuple[bytes | None, bytes]:
    """Take an ONNX file, or the bytes of one, apart where it has described the whole photo.

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
    made = {name for node in whole.graph.node for name in node.output}
    if not made.issuperset(DESCRIPTION):
        return None, whole.SerializeToString()
    inputs = [value.name for value in whole.graph.input]
    outputs = [value.name for value in whole.graph.output]
    extractor = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(whole))
    describer = extractor.extract_model(inputs, list(DESCRIPTION))
    pixels = extractor.extract_model(["image", *DESCRIPTION], outputs)
    pixels.metadata_props.extend(whole.metadata_props)
    return describer.SerializeToString(), pixels.SerializeToString()


def require_all_inputs(model: onnx.ModelProto) -> None:
    """Make the optional input required: OpenVINO's provider can't bind it otherwise."""
    inputs = {value.name for value in model.graph.input}
    weights = [weight for weight in model.graph.initializer if weight.name not in inputs]
    del model.graph.initializer[:]
    model.graph.initializer.extend(weights)


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
