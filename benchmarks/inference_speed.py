"""Seconds per photo of the exported networks against PyTorch's own way to run them.

The study ran its networks in PyTorch, float32, layer by layer. That and onnxruntime (on the CPU,
and on OpenVINO and CUDA where they work) run the same weights on the same photo in this process,
turn by turn, on the same number of threads; the median of the ratios within a turn counts.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from timing import time_in_turns

from retinex import Device, DeviceError, Enhancer
from retinex.device import usable_cores
from retinex.experiments import EXPERIMENTS
from retinex.photo import Pixels
from retinex.training.checkpoints import load_weights


def main() -> None:
    """Time all experiments and print a table."""
    args = parse_arguments()
    torch.set_num_threads(usable_cores())
    height, width = args.size
    photo = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    print(f"{width}×{height} pixels, {usable_cores()} threads")
    for name in args.experiment:
        seconds = time_in_turns(runners(name, photo), args.turns)
        reference = np.array(seconds["PyTorch"])
        for runner, times in seconds.items():
            ratio = np.median(reference / times)
            print(f"{name:22} {runner:18} {np.median(times):7.3f} s {ratio:6.2f}×")


def runners(experiment: str, photo: Pixels) -> dict[str, Callable[[], object]]:
    """What is compared, by name."""
    net, _, _ = load_weights(Path("checkpoints") / f"{experiment}.safetensors")
    net.eval()

    @torch.inference_mode()
    def run_in_torch() -> Pixels:
        batch = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 255
        output = net(batch).output.clamp(0, 1) * 255
        return output.round().to(torch.uint8)[0].permute(1, 2, 0).numpy()

    compared: dict[str, Callable[[], object]] = {"PyTorch": run_in_torch}
    for device in (Device.CPU, Device.OPENVINO, Device.CUDA):
        try:
            enhancer = Enhancer(experiment, device)
        except DeviceError:
            continue
        compared[f"onnxruntime, {device}"] = lambda enhancer=enhancer: enhancer.enhance(photo)
    return compared


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Compare onnxruntime's speed with PyTorch's.")
    names = [name for name in EXPERIMENTS if Path(f"checkpoints/{name}.safetensors").is_file()]
    parser.add_argument("--experiment", nargs="+", default=names, choices=names)
    parser.add_argument("--size", type=int, nargs=2, default=(400, 600), metavar=("H", "W"))
    parser.add_argument("--turns", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
