"""OpenVINO against onnxruntime's own provider on the CPU, on a `FOLDER` of pairs.

OpenVINO runs as the package runs it, as a provider of onnxruntime; that takes Intel's processors
alone, so on others OpenVINO runs by itself. `--precision` chooses its numbers: "auto" the faster
ones, of OpenVINO by itself bf16 where the processor knows it. Both run the same ONNX files on the
same photo in turns and on the same number of threads; the median of the ratios within a turn
counts. Then come the largest and the mean difference of each stage over all pairs, in steps of 255,
and by how much the output's PSNR changes.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
import openvino
from measuring import time_in_turns
from tqdm import tqdm

from retinex import device
from retinex.datasets import LOL_TEST_FOLDER, match_stems
from retinex.device import CPU_PROVIDER, Device, open_model, why_not_openvino
from retinex.experiments import EXPERIMENTS
from retinex.inference import MODELS_FOLDER
from retinex.machine import usable_cores
from retinex.metrics import psnr
from retinex.onnx_network import describe, new_session
from retinex.openvino_parts import take_apart
from retinex.photo import Pixels, open_photo
from retinex.stages import COMPUTED_STAGES
from retinex.thumbnail import make_thumbnail

PRECISIONS: dict[str, Callable[[], dict[str, str]]] = {
    "auto": device._find_openvino_options,
    "bf16": dict,
    "float32": lambda: device.OPENVINO_FLOAT32,
}
"""What finds the options of OpenVINO as a provider of onnxruntime."""

Runner = Callable[[Pixels], list[Pixels]]
"""Computes the stages of a photo, (h, w, 3) uint8: each (1, h, w, channels)."""


def main() -> None:
    """Time and compare each experiment."""
    args = parse_arguments()
    files = match_stems(args.pairs, LOL_TEST_FOLDER)
    can = ", ".join(openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    through = "by itself" if why_not_openvino() else "through onnxruntime"
    print(
        f"OpenVINO {through}, precision {args.precision}, {usable_cores()} threads; "
        f"the processor can: {can}"
    )
    for experiment in args.experiment:
        file = MODELS_FOLDER / f"{experiment}.onnx"
        on_openvino, on_onnxruntime = open_in_openvino(file, args.precision), open_as_usual(file)
        photo = open_photo(files[0][0]).rgb
        runs = {
            "onnxruntime": lambda run=on_onnxruntime, photo=photo: run(photo),
            "OpenVINO": lambda run=on_openvino, photo=photo: run(photo),
        }
        seconds = time_in_turns(runs, args.turns)
        ratio = np.median(np.array(seconds["onnxruntime"]) / seconds["OpenVINO"])
        medians = ", ".join(f"{name} {np.median(times):.3f} s" for name, times in seconds.items())
        print(f"{experiment}: {medians}, {ratio:.2f}×")
        print(f"    {compare(on_openvino, on_onnxruntime, files)}", flush=True)


def open_as_usual(file: Path) -> Runner:
    """Open an ONNX file as the package does."""
    return open_model(file, Device.CPU).network.run_whole


def open_in_openvino(file: Path, precision: str) -> Runner:
    """Open an ONNX file in OpenVINO, if it can be as a provider of onnxruntime."""
    if not why_not_openvino():
        with patch.object(device, "_find_openvino_options", PRECISIONS[precision]):
            return open_model(file, Device.OPENVINO).network.run_whole
    options = {"INFERENCE_NUM_THREADS": usable_cores()}
    if precision == "float32":
        options["INFERENCE_PRECISION_HINT"] = "f32"
    core = openvino.Core()
    describer_file, pixels = take_apart(file, in_bf16=precision != "float32")
    describer = describer_file and new_session(describer_file, [CPU_PROVIDER])
    request = core.compile_model(core.read_model(pixels), "CPU", options).create_infer_request()

    def run(photo: Pixels) -> list[Pixels]:
        inputs = {"image": photo[None]}
        if describer:
            inputs = describe(describer, inputs | {"thumbnail": make_thumbnail(photo)[None]})
        return list(request.infer(inputs).values())

    return run


def compare(ours: Runner, reference: Runner, files: Sequence[tuple[Path, Path]]) -> str:
    """Say how far pictures of all pairs are apart, and their PSNR."""
    differences, changes = [], []
    for low, high in tqdm(files, leave=False):
        photo, normal = open_photo(low).rgb, open_photo(high).rgb
        stages, expected = ours(photo), reference(photo)
        apart = [np.abs(a.astype(int) - b) for a, b in zip(stages, expected, strict=True)]
        differences.append([(stage.max(), stage.mean()) for stage in apart])
        changes.append(psnr(stages[-1][0], normal) - psnr(expected[-1][0], normal))
    largest, mean = np.max(differences, axis=0)[:, 0], np.mean(differences, axis=0)[:, 1]
    described = zip(COMPUTED_STAGES, largest, mean, strict=True)
    text = ", ".join(f"{stage} {most:.0f} ({usual:.2f})" for stage, most, usual in described)
    return f"largest (mean) {text}; PSNR {np.mean(changes):+.3f} dB"


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Compare OpenVINO with onnxruntime.")
    parser.add_argument("pairs", type=Path, help="folder of pairs, such as data/lol")
    names = [name for name in EXPERIMENTS if (MODELS_FOLDER / f"{name}.onnx").is_file()]
    parser.add_argument("--experiment", nargs="+", default=names, choices=names)
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    parser.add_argument("--turns", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
