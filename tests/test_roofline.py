"""What benchmarks/roofline.py counts, against multiply-adds counted by hand."""

import runpy
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

ROOFLINE = Path(__file__).parent.parent / "benchmarks" / "roofline.py"
HEIGHT, WIDTH, SIDE = 6, 8, 2
"""Of the image and of kernels, in pixels."""


@pytest.mark.parametrize(
    ("operator", "weights", "pixels"),
    [
        ("Conv", (5, 3, SIDE, SIDE), (HEIGHT - 1) * (WIDTH - 1)),  # those written
        ("ConvTranspose", (3, 5, SIDE, SIDE), HEIGHT * WIDTH),  # those read
    ],
)
def test_a_convolution_costs_its_filter_at_each_pixel(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    operator: str,
    weights: tuple[int, ...],
    pixels: int,
) -> None:
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["photo"], "transpose", perm=[0, 3, 1, 2]),
        helper.make_node(operator, ["photo", "weights", "bias"], ["output"], "convolution"),
    ]
    graph = helper.make_graph(
        nodes,
        "one convolution",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, HEIGHT, WIDTH, 3])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)],
        [
            onnx.numpy_helper.from_array(np.ones(weights, np.float32), "weights"),
            onnx.numpy_helper.from_array(np.ones(5, np.float32), "bias"),
        ],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), tmp_path / "net.onnx")
    image = np.zeros((1, HEIGHT, WIDTH, 3), np.uint8)

    monkeypatch.syspath_prepend(ROOFLINE.parent)  # as Python does with a script's folder
    layers = runpy.run_path(str(ROOFLINE))["count_layers"](tmp_path / "net.onnx", image)

    assert sum(layer.multiply_adds for layer in layers) == pixels * int(np.prod(weights))
