"""How OpenVINO takes an ONNX file: with no optional input, and without its description of photos.

OpenVINO computes in bf16 where the processor does. That changes pixels by a step of 255 or two,
each in its own way; but rounding what is decided of the whole photo, such as how bright it becomes,
changes all of them alike. So onnxruntime's own provider computes that, in float32.
"""

from pathlib import Path

import onnx
import onnxruntime

from retinex.onnx_network import session_options
from retinex.thumbnail import DESCRIPTION


def take_apart(model: Path | bytes) -> tuple[onnxruntime.InferenceSession | None, bytes]:
    """Take an ONNX file, or the bytes of one, apart where it has described the whole photo.

    Returns:
        what computes the `DESCRIPTION` of image and thumbnail, None if the network sees no
        thumbnail; and the rest as an ONNX file, which takes image and description.
    """
    whole = onnx.load_model_from_string(model) if isinstance(model, bytes) else onnx.load(model)
    require_all_inputs(whole)
    if not any(set(DESCRIPTION) & set(node.output) for node in whole.graph.node):
        return None, whole.SerializeToString()
    inputs = [value.name for value in whole.graph.input]
    outputs = [value.name for value in whole.graph.output]
    extractor = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(whole))
    describer = extractor.extract_model(inputs, list(DESCRIPTION))
    pixels = extractor.extract_model(["image", *DESCRIPTION], outputs)
    pixels.metadata_props.extend(whole.metadata_props)
    options = session_options()
    options.intra_op_num_threads = 1  # more would keep cores from OpenVINO while they wait for work
    session = onnxruntime.InferenceSession(describer.SerializeToString(), options)
    return session, pixels.SerializeToString()


def require_all_inputs(model: onnx.ModelProto) -> None:
    """Make the optional input required: OpenVINO's provider can't bind it otherwise."""
    inputs = {value.name for value in model.graph.input}
    weights = [weight for weight in model.graph.initializer if weight.name not in inputs]
    del model.graph.initializer[:]
    model.graph.initializer.extend(weights)
