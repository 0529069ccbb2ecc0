"""What bf16 arithmetic changes, on machines whose OpenVINO can't compute in it: `FOLDER` of pairs.

OpenVINO multiplies bf16 matrices where the processor has instructions for it and adds up in
float32. The same is done here in PyTorch: inputs, weights and outputs of every layer with weights
are rounded to bf16. Printed are the largest and the mean difference of each stage, in steps of 255,
and by how much it changes the output's PSNR. Speed is none of its concern.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from retinex.datasets import LOL_TEST_FOLDER, match_stems
from retinex.evaluation import psnr
from retinex.experiments import EXPERIMENTS
from retinex.photo import open_photo
from retinex.stages import COMPUTED_STAGES
from retinex.training.checkpoints import load_weights
from retinex.training.onnx_export import run_portable
from retinex.training.portable import PortablePlusNet, PortableRetinexNet, build_portable
from retinex.training.rewrites import rewrite

Portable = PortableRetinexNet | PortablePlusNet


def main() -> None:
    """Compare both ways to compute on all pairs, for each experiment."""
    args = parse_arguments()
    files = match_stems(args.pairs, LOL_TEST_FOLDER)
    for experiment in args.experiment:
        net, _, _ = load_weights(Path("checkpoints") / f"{experiment}.safetensors")
        exact, rounded = (build_portable(rewrite(net)).eval() for _ in range(2))
        round_layers(rounded)
        rows = [compare(rounded, exact, *pair) for pair in tqdm(files, experiment, leave=False)]
        largest, mean, change = (np.array(column) for column in zip(*rows, strict=True))
        described = zip(COMPUTED_STAGES, largest.max(axis=0), mean.mean(axis=0), strict=True)
        stages = ", ".join(f"{stage} {most} ({usual:.2f})" for stage, most, usual in described)
        print(f"{experiment}: largest (mean) {stages}; PSNR {change.mean():+.3f} dB", flush=True)


@torch.inference_mode()
def compare(
    rounded: Portable, exact: Portable, low: Path, high: Path
) -> tuple[list[int], list[float], float]:
    """Return the largest and the mean difference by stage, and that of the output's PSNR."""
    image, reference = open_photo(low).rgb[None].copy(), open_photo(high).rgb
    ours, theirs = run_portable(rounded, image), run_portable(exact, image)
    differences = [np.abs(a.astype(int) - b) for a, b in zip(ours, theirs, strict=True)]
    change = psnr(ours[-1][0], reference) - psnr(theirs[-1][0], reference)
    return [int(d.max()) for d in differences], [float(d.mean()) for d in differences], change


def round_layers(module: nn.Module) -> None:
    """Let all layers with weights in `module` compute as bf16 matrix instructions do."""

    def to_bf16(value: Tensor) -> Tensor:
        return value.bfloat16().float()

    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            layer.weight.data = to_bf16(layer.weight.data)
            layer.register_forward_pre_hook(lambda _, inputs: tuple(map(to_bf16, inputs)))
            layer.register_forward_hook(lambda _, __, output: to_bf16(output))


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Compare bf16 with float32 pictures.")
    parser.add_argument("pairs", type=Path, help="folder of pairs, such as data/lol")
    names = [name for name in EXPERIMENTS if Path(f"checkpoints/{name}.safetensors").is_file()]
    parser.add_argument("--experiment", nargs="+", default=names, choices=names)
    return parser.parse_args()


if __name__ == "__main__":
    main()
