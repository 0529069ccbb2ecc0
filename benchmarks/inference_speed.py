"""Seconds per photo of the exported networks against PyTorch's own way to run them.

The study ran its networks in PyTorch, float32, layer by layer. That and onnxruntime (on the CPU,
and on OpenVINO and CUDA where they work, there in float16 too if `export_onnx.py --fp16` has made
the files) run the same weights on the same photo in this process, turn by turn, on the same number
of threads; the median of the ratios within a turn counts. The last columns are how far each output
is from that of onnxruntime on the CPU, in steps of 255; PyTorch's is at the photo's border, which
the exported networks see mirrored.

A line below tells what share of the networks' time denoising their reflectance takes. The last line
is of all experiments on one photo on the CPU: as the demo runs them, those with one Decom-Net as
one, against one after the other.
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from measuring import time_in_turns
from PIL import Image

from retinex import Adjustments, Device, DeviceError, Enhancer, ModelError, adjust, open_photo
from retinex.experiments import EXPERIMENTS, GROUPS
from retinex.inference import MODELS_FOLDER, CombinedEnhancer
from retinex.machine import usable_cores
from retinex.photo import Pixels
from retinex.training.checkpoints import load_weights

PHOTO = Path(__file__).parent.parent / "examples" / "coffee.jpg"
DEVICES = (Device.CPU, Device.OPENVINO, Device.CUDA)
REFERENCE = f"onnxruntime, {Device.CPU}"

Runner = Callable[[], Pixels]
"""Computes the output of one photo."""


def main() -> None:
    """Time all experiments and print a table."""
    args = parse_arguments()
    torch.set_num_threads(usable_cores())
    height, width = args.size
    photo = np.array(Image.open(PHOTO).resize((width, height)))
    print(f"{width}×{height} pixels, {usable_cores()} threads")
    for experiment in args.experiment:
        compared = runners(experiment, photo)
        seconds = time_in_turns(compared, args.turns)
        on_cpu = compared[REFERENCE]().astype(int)
        for name, times in seconds.items():
            ratio = np.median(np.array(seconds["PyTorch"]) / times)
            difference = np.abs(compared[name]() - on_cpu)
            print(
                f"{experiment:20} {name:24} {np.median(times):7.3f} s {ratio:6.2f}× "
                f"largest {difference.max():3} mean {difference.mean():.3f}"
            )
        print(describe_denoising(experiment, photo, args.turns))
    print(describe_groups(photo, args.turns))


def describe_denoising(experiment: str, photo: Pixels, turns: int) -> str:
    """Time a denoised adjustment against the networks."""
    enhancer = Enhancer(experiment, Device.CPU)
    enhancement = enhancer.enhance(photo)
    denoised = Adjustments(denoise=1)
    seconds = time_in_turns(
        {
            "networks": lambda: enhancer.enhance(photo),
            "denoising": lambda: adjust(enhancement, denoised),
        },
        turns,
    )
    share = np.median(np.array(seconds["denoising"]) / seconds["networks"])
    return f"{experiment:20} {'denoising':24} {np.median(seconds['denoising']):7.3f} s {share:6.0%}"


def describe_groups(photo: Pixels, turns: int) -> str:
    """Time all experiments: each on its own, and each group as one."""
    opened = open_photo(photo)

    def run_all(groups: Iterable[Sequence[str]]) -> Callable[[], object]:
        enhancers = [CombinedEnhancer(names, Device.CPU) for names in groups]
        return lambda: [enhancer.enhance(opened) for enhancer in enhancers]

    each = run_all([name] for name in EXPERIMENTS)
    seconds = time_in_turns({"each": each, "together": run_all(GROUPS)}, turns)
    ratio = np.median(np.array(seconds["each"]) / seconds["together"])
    medians = ", ".join(f"{name} {np.median(times):.3f} s" for name, times in seconds.items())
    return f"all experiments: {medians}, {ratio:.2f}×"


def runners(experiment: str, photo: Pixels) -> dict[str, Runner]:
    """What is compared, by name; says why a device isn't."""
    net, _, _ = load_weights(Path("checkpoints") / f"{experiment}.safetensors")

    @torch.inference_mode()
    def run_in_torch() -> Pixels:
        # Permuting alone would leave the channels last, which slows float32 down on some CPUs.
        batch = torch.from_numpy(photo).permute(2, 0, 1)[None].contiguous().float() / 255
        output = net(batch).output.clamp(0, 1) * 255
        return output.round().to(torch.uint8)[0].permute(1, 2, 0).numpy()

    compared: dict[str, Runner] = {"PyTorch": run_in_torch}
    half = MODELS_FOLDER / "fp16"
    for device, models in (*((device, MODELS_FOLDER) for device in DEVICES), (Device.CUDA, half)):
        if models == half and f"onnxruntime, {Device.CUDA}" not in compared:
            continue
        try:
            enhancer = Enhancer(experiment, device, models)
        except (DeviceError, ModelError) as error:
            print(f"{experiment:20} not on {device.label}: {error}")
            continue
        name = f"onnxruntime, {device}{', fp16' if models == half else ''}"
        compared[name] = lambda enhancer=enhancer: enhancer.enhance(photo).output
    return compared


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Compare onnxruntime's speed with PyTorch's.")
    names = [name for name in EXPERIMENTS if Path(f"checkpoints/{name}.safetensors").is_file()]
    if not names:
        parser.error("there are no checkpoints/*.safetensors; run this in the project's folder")
    parser.add_argument("--experiment", nargs="+", default=names, choices=names)
    parser.add_argument("--size", type=int, nargs=2, default=(400, 600), metavar=("H", "W"))
    parser.add_argument("--turns", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
