"""How close inference comes to what this machine's CPU could do at best.

In one run: the fastest matrix product (fp32 and bf16) and memory copy are measured, each network's
multiply-adds and bytes are counted layer by layer in its ONNX file, and each network is timed by
onnxruntime's own provider and, where it works, by OpenVINO, which may use bf16. A layer's limit is
the longer of computing its multiply-adds at the speed of the matrix product and of moving its
inputs, weights and outputs at that of the copy; the limit of a network is their sum. Caches can
beat it, where a layer finds in them what the one before left there.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from measuring import time_in_turns

from retinex import Device, DeviceError
from retinex.device import open_model
from retinex.experiments import EXPERIMENTS
from retinex.inference import MODELS_FOLDER
from retinex.machine import usable_cores
from retinex.photo import Pixels
from retinex.training.precision import cpu_has_bf16

MATRIX_SIDE = 2048
COPIED_BYTES = 2**28
CONVOLUTIONS = {"Conv", "ConvTranspose", "FusedConv"}


@dataclass(frozen=True)
class Layer:
    """What a layer costs at least."""

    multiply_adds: int
    moved_bytes: int

    def least_seconds(self, flops: float, bandwidth: float) -> float:
        """Seconds at so many operations and bytes a second; a multiply-add is two operations."""
        return max(2 * self.multiply_adds / flops, self.moved_bytes / bandwidth)


def main() -> None:
    """Measure the machine, count and time the networks, print a table."""
    args = parse_arguments()
    torch.set_num_threads(usable_cores())
    fp32 = matrix_speed(torch.float32)
    bf16 = matrix_speed(torch.bfloat16) if cpu_has_bf16() else 0.0  # emulated: minutes
    bandwidth = copy_speed()
    print(
        f"{usable_cores()} threads: matrix product {fp32 / 1e9:.0f} GFLOP/s in fp32, "
        f"{bf16 / 1e9:.0f} in bf16 (0: not in hardware); copy {bandwidth / 1e9:.1f} GB/s"
    )
    height, width = args.size
    image = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)
    print(f"{width}×{height} pixels           GMAC     MB    limit  device       time   share")
    for name in args.experiment:
        layers = count_layers(MODELS_FOLDER / f"{name}.onnx", image)
        for device, seconds in time_devices(name, image, args.turns).items():
            flops = fp32 if device is Device.CPU else max(fp32, bf16)
            limit = sum(layer.least_seconds(flops, bandwidth) for layer in layers)
            print(
                f"{name:22} {sum(layer.multiply_adds for layer in layers) / 1e9:6.1f} "
                f"{sum(layer.moved_bytes for layer in layers) / 1e6:6.0f} {limit:6.3f} s  "
                f"{device.label:9} {seconds:6.3f} s {limit / seconds:6.0%}"
            )


def fastest(run: Callable[[], object], turns: int = 5) -> float:
    """Seconds of the fastest of several runs; the first warms up."""
    return min(time_in_turns({"": run}, turns)[""])


def matrix_speed(dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large matrix product, the faster library's.

    PyTorch's leaves AVX-512 aside on AMD's processors, NumPy's doesn't know bf16.
    """
    a, b = (torch.rand(MATRIX_SIDE, MATRIX_SIDE).to(dtype) for _ in range(2))
    seconds = fastest(lambda: a @ b)
    if dtype is torch.float32:
        seconds = min(seconds, fastest(lambda: a.numpy() @ b.numpy()))
    return 2 * MATRIX_SIDE**3 / seconds


def copy_speed() -> float:
    """Bytes a second, read and written, of a large copy."""
    source = torch.ones(COPIED_BYTES, dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2 * COPIED_BYTES / fastest(lambda: target.copy_(source))


def count_layers(file: Path, image: Pixels) -> list[Layer]:
    """Count what each layer of an ONNX file does to `image`, as onnxruntime's profile tells."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.enable_profiling = True
    # The layout that faster levels choose pads channels, which would be counted, too.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = f"{folder}/profile"
        options.optimized_model_filepath = f"{folder}/optimised.onnx"
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        session.run(None, {"image": image})
        events = json.loads(Path(session.end_profiling()).read_text())
        weights = weights_of_convolutions(onnx.load(options.optimized_model_filepath).graph)
    end = "_kernel_time"
    runs = {event["name"]: event["args"] for event in events if event["name"].endswith(end)}
    return [count_layer(run, weights.get(name.removesuffix(end))) for name, run in runs.items()]


def weights_of_convolutions(graph: onnx.GraphProto) -> dict[str, list[int]]:
    """The shape of each convolution's weights, by the node's name."""
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    return {node.name: shapes[node.input[1]] for node in graph.node if node.op_type in CONVOLUTIONS}


def count_layer(run: dict[str, Any], weights: list[int] | None) -> Layer:
    """Count one layer by the shapes of what it read and wrote, and of a convolution's weights."""
    inputs, outputs = (
        [(dtype, shape) for value in run[kind] for dtype, shape in value.items()]
        for kind in ("input_type_shape", "output_type_shape")
    )
    moved = sum(
        int(np.prod(shape)) * (1 if dtype == "uint8" else 4) for dtype, shape in [*inputs, *outputs]
    )
    if weights is None:
        return Layer(0, moved)
    # A convolution applies a filter at each pixel it writes, a transposed one at each it reads.
    pixels = outputs[0][1]
    if run["op_name"] == "ConvTranspose":
        pixels = inputs[0][1]
        moved += 4 * int(np.prod(weights))  # which the profile leaves out
    return Layer(pixels[0] * int(np.prod(pixels[2:])) * int(np.prod(weights)), moved)


def time_devices(experiment: str, image: Pixels, turns: int) -> dict[Device, float]:
    """Seconds on each device that works here."""
    seconds = {}
    for device in (Device.CPU, Device.OPENVINO):
        try:
            network = open_model(MODELS_FOLDER / f"{experiment}.onnx", device).network
        except DeviceError:
            continue
        seconds[device] = fastest(lambda network=network: network.run_whole(image[0]), turns)
    return seconds


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Compare inference with the machine's limits.")
    parser.add_argument("--experiment", nargs="+", default=list(EXPERIMENTS), choices=EXPERIMENTS)
    parser.add_argument("--size", type=int, nargs=2, default=(400, 600), metavar=("H", "W"))
    parser.add_argument("--turns", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
