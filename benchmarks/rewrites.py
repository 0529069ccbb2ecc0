"""What each rewrite of `retinex.training.rewrites` gains in onnxruntime on the CPU.

An experiment's weights are exported without rewrites, then with one more after another. All of
them run in this process, turn by turn; the median of the ratios within a turn counts. On one
thread they are timed in processor time, so that other programs disturb little; `--threads` are
more. Memory is what a first run adds to the peak of a fresh process (on Linux).
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
from measuring import time_in_turns

from retinex.training.checkpoints import load_weights
from retinex.training.onnx_export import export_onnx
from retinex.training.plus_network import PlusNet
from retinex.training.rewrites import (
    compute_factors_in_phases,
    merge_enhance_net,
    merge_first_convolutions,
    place_grown_pixels,
    read_pixels_in_place,
)

MEASURE_RUN = """
import sys, numpy, onnxruntime
from measuring import peak_memory
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
before = peak_memory()
session.run(None, {"image": numpy.zeros((1, *map(int, sys.argv[2:]), 3), numpy.uint8)})
print(peak_memory() - before)
"""


def main() -> None:
    """Print a table for each experiment."""
    args = parse_arguments()
    for weights in args.weights:
        with tempfile.TemporaryDirectory() as folder:
            files = export_variants(weights, Path(folder))
            print(f"{weights.stem}, {args.size[0]}×{args.size[1]} pixels, threads: {args.threads}")
            compare(files, args.size, args.threads, args.turns)


def compare(files: dict[str, Path], size: tuple[int, int], threads: int, turns: int) -> None:
    """Time the variants and print a line for each."""
    image = np.random.default_rng(0).integers(0, 256, (1, *size, 3), dtype=np.uint8)
    runners = {
        name: partial(open_session(file, threads).run, None, {"image": image})
        for name, file in files.items()
    }
    clock = time.process_time if threads == 1 else time.perf_counter
    seconds = time_in_turns(runners, turns, clock=clock)
    plain = np.array(seconds[next(iter(files))])
    for name, times in seconds.items():
        ratio = np.median(plain / times)
        memory = memory_of_run(files[name], size) / 2**20
        print(f"{name:42} {np.median(times):6.2f} s {ratio:6.2f}× {memory:6.0f} MB", flush=True)


def export_variants(weights: Path, folder: Path) -> dict[str, Path]:
    """Export with no rewrite, with the first, with the first two…; return the files by name."""
    net, experiment, facts = load_weights(weights)
    rewrites: dict[str, Callable[[], None]] = {"as trained": lambda: None}
    if isinstance(net, PlusNet):
        rewrites["+ photo read in place"] = partial(read_pixels_in_place, net)
        rewrites["+ sizes doubled by transposed convolutions"] = partial(place_grown_pixels, net)
    else:
        rewrites["+ Decom-Net's first convolutions merged"] = partial(
            merge_first_convolutions, net.decom
        )
        rewrites["+ Decom-Net's last convolution in phases"] = partial(
            compute_factors_in_phases, net.decom
        )
        if net.enhance is not None:
            rewrites["+ Enhance-Net merged, at half size"] = partial(merge_enhance_net, net)
    files = {}
    for name, rewrite in rewrites.items():
        rewrite()
        files[name] = folder / f"{len(files)}.onnx"
        export_onnx(net, experiment, facts, files[name], as_trained=True)
    return files


def open_session(file: Path, threads: int) -> onnxruntime.InferenceSession:
    """Open a file on some threads of the CPU, which end their waiting when a run is done."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def memory_of_run(file: Path, size: tuple[int, int]) -> int:
    """Bytes that a first run adds to a fresh process, without PyTorch, at its peak."""
    command = [sys.executable, "-c", MEASURE_RUN, str(file), *map(str, size)]
    folder = Path(__file__).parent  # where `measuring` is imported from
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return int(done.stdout)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Measure what each rewrite at export gains.")
    parser.add_argument(
        "weights",
        nargs="*",
        type=Path,
        default=[Path(f"checkpoints/{name}.safetensors") for name in ("join", "retinex_plus")],
    )
    parser.add_argument("--size", type=int, nargs=2, default=(400, 600), metavar=("H", "W"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=7)
    return parser.parse_args()


if __name__ == "__main__":
    main()
