"""Turn trained weights into ONNX files: `python export_onnx.py` does so for all in checkpoints/.

Each file is run in onnxruntime and compared with PyTorch at several sizes; a difference of more
than one step of 255, with --fp16 of more than two, is an error. With --fp16 so is a value near
float16's largest: on a GPU it would become infinite and then not a number (NaN). What a file
contains is described in retinex/training/onnx_export.py.
"""

import argparse
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from retinex.device import Device, open_model
from retinex.photo import Pixels
from retinex.training.build import Network
from retinex.training.checkpoints import CheckpointError, load_weights, read_safetensors
from retinex.training.onnx_export import export_onnx, largest_activation
from retinex.training.portable import run_in_torch

CHECKED_SHAPES = ((1, 1, 1), (1, 7, 5), (2, 33, 47), (1, 101, 200))
"""Batch, height and width of the images that both are run on."""
TOLERANCE = 1
"""Largest difference allowed between the 8-bit images of onnxruntime and PyTorch."""
TOLERANCE_OF_HALF = 2
"""The same of float16 and float32: what is dark, such as the illumination of black, is rounded."""
LARGEST_HALF = float(np.finfo(np.float16).max) / 4
"""Largest value a layer may give of the images checked with --fp16; photos may go beyond."""


def main() -> None:
    """Export what the command line names and print a table of the checks."""
    args = parse_arguments()
    silence_torch()
    paths = args.weights or sorted(Path("checkpoints").glob("*.safetensors"))
    if not paths:
        raise SystemExit(
            f"export_onnx.py: no .safetensors in {Path('checkpoints').absolute()}; name them, or "
            "train with train.py first"
        )
    tolerance = TOLERANCE_OF_HALF if args.fp16 else TOLERANCE
    try:
        check_experiments(paths)
        print(f"{'file':44} largest difference to PyTorch (of 255)")
        failed = []
        for path in paths:
            file, difference = export(path, args.out, args.fp16, tolerance)
            note = ""
            if difference > tolerance:
                failed.append(str(file))
                note = ", not written"
            print(f"{file!s:44} {difference}{note}", flush=True)
    except (CheckpointError, OSError) as error:
        raise SystemExit(f"export_onnx.py: {error}") from error
    if failed:
        raise SystemExit(
            f"export_onnx.py: {', '.join(failed)} would compute something else than PyTorch and "
            "wasn't written"
        )


def silence_torch() -> None:
    """Keep PyTorch from warning of torchvision, which isn't needed, and of deprecated calls."""
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, message=".*LeafSpec")


def check_experiments(paths: Sequence[Path]) -> None:
    """Raise `CheckpointError` if two checkpoints are of one experiment: one file would be both."""
    experiments = [read_safetensors(path)[1] for path in paths]
    if twice := {name for name in experiments if name and experiments.count(name) > 1}:
        raise CheckpointError(
            f"several of these are weights of {', '.join(sorted(twice))}; export one of an "
            "experiment at a time"
        )


def export(weights: Path, folder: Path, fp16: bool, tolerance: int) -> tuple[Path, int]:
    """Export one checkpoint; return the file and its largest difference to PyTorch.

    A file that differs by more than `tolerance` doesn't replace the one there is.
    """
    net, experiment, facts = load_weights(weights)
    if fp16:
        check_range(net, weights)
    folder.mkdir(parents=True, exist_ok=True)
    # Within `folder`, so that a good file replaces the former at once and whole.
    with tempfile.TemporaryDirectory(dir=folder) as unchecked_folder:
        unchecked = Path(unchecked_folder) / f"{experiment.name}.onnx"
        export_onnx(net, experiment, facts, unchecked, fp16=fp16)
        difference = largest_difference(net, unchecked)
        file = folder / unchecked.name
        if difference <= tolerance:
            unchecked.replace(file)
    return file, difference


def check_range(net: Network, weights: Path) -> None:
    """Raise `CheckpointError` if a layer gives values that float16 can hardly hold."""
    largest = largest_activation(net, checked_images())
    if not largest <= LARGEST_HALF:  # which NaN isn't, either
        raise CheckpointError(
            f"layers of {weights} give values up to {largest:.3g}, too many for float16; "
            "export it without --fp16"
        )


def checked_images() -> Iterator[Pixels]:
    """Yield noise, black and white of several sizes."""
    rng = np.random.default_rng(0)
    for shape in CHECKED_SHAPES:
        noise = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        yield from (noise, np.zeros_like(noise), np.full_like(noise, 255))


def largest_difference(net: Network, file: Path) -> int:
    """Compare `file` in onnxruntime with `net` in PyTorch on images of several kinds."""
    session = open_model(file, Device.CPU).network.session
    largest = 0
    for image in checked_images():
        pairs = zip(session.run(None, {"image": image}), run_in_torch(net, image), strict=True)
        for ours, reference in pairs:
            largest = max(largest, int(np.abs(ours.astype(int) - reference).max()))
    return largest


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Export trained weights to ONNX.")
    parser.add_argument(
        "weights",
        nargs="*",
        type=Path,
        help=".safetensors files (default checkpoints/*.safetensors)",
    )
    parser.add_argument(
        "--fp16", action="store_true", help="half the size, for GPUs; into OUT/fp16"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("onnx_models"),
        help="folder to write to (default onnx_models, replacing files of the same experiment)",
    )
    args = parser.parse_args()
    if args.fp16:
        args.out /= "fp16"
    return args


if __name__ == "__main__":
    main()
