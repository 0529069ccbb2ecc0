"""What else could make inference faster on the CPU, each against the way it is done.

Other settings of onnxruntime, several photos in one batch, tiles of other sizes, and weights and
arithmetic of 8 bits. All run in this process, turn by turn; the median of the ratios within a turn
counts. The PSNR compares the output with that of the way it is done, as 8-bit arithmetic has its
price; the others cost nothing.
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnxruntime
from measuring import time_in_turns
from onnxruntime.quantization import CalibrationDataReader, quantize_static

from retinex import EXPERIMENTS, Device, inference, tiles
from retinex.experiments import DEFAULT_EXPERIMENT
from retinex.inference import MODELS_FOLDER
from retinex.machine import usable_cores
from retinex.metrics import psnr
from retinex.onnx_network import session_options
from retinex.photo import Pixels, open_photo

EXAMPLES = Path(__file__).parent.parent / "examples"
PHOTO = "coffee"
"""The example that is timed and scored; the others, dark and brightened, set the ranges of 8-bit
numbers."""
BATCH = 4
TILES = (128, 256, 512)
Run = Callable[[], Pixels]


class Examples(CalibrationDataReader):
    """Photos by which the ranges of 8-bit numbers are set."""

    def __init__(self, photos: list[Pixels]) -> None:
        self._photos = iter(photos)

    def get_next(self) -> dict[str, Pixels] | None:
        """Return the next photo, a batch of one, as the network takes it."""
        photo = next(self._photos, None)
        return None if photo is None else {"image": photo[None]}


def main() -> None:
    """Time all alternatives and print three tables."""
    args = parse_arguments()
    height, width = args.size
    photo = open_photo(EXAMPLES / f"{PHOTO}.jpg").rgb[:height, :width]
    others = [path for path in EXAMPLES.glob("*.jpg") if path.stem != PHOTO]
    dark = [open_photo(path).rgb[:height, :width] for path in others]
    photos = dark + [brighten(photo) for photo in dark]
    model = MODELS_FOLDER / f"{args.experiment}.onnx"
    print(f"{args.experiment}, {photo.shape[1]}×{photo.shape[0]} pixels, {usable_cores()} threads")
    with tempfile.TemporaryDirectory() as folder:
        int8 = Path(folder) / "int8.onnx"
        quantize_static(model, int8, Examples(photos), per_channel=True)
        print_table(settings(model, int8, photo), args.turns)
    print(f"{BATCH} photos")
    print_table(batches(model, photo), args.turns)
    large = np.tile(photo, (2, 2, 1))
    print(f"tiles of {large.shape[1]}×{large.shape[0]} pixels")
    print_table(tile_sizes(args.experiment, large), args.turns)


def brighten(photo: Pixels) -> Pixels:
    """Scale a photo to reach white: ranges of 8-bit numbers must hold lamps and daylight, too."""
    return (photo * (255.0 / photo.max())).astype(np.uint8)


def settings(model: Path, int8: Path, photo: Pixels) -> dict[str, Run]:
    """Other ways to run `model`, or its 8-bit form, on one photo."""
    level = onnxruntime.GraphOptimizationLevel
    runners = {
        "as it is": new_options(),
        "without spinning threads": new_options(),
        "branches in parallel": new_options(execution_mode=onnxruntime.ExecutionMode.ORT_PARALLEL),
        "with memory planning": new_options(enable_mem_pattern=True),
        "an arena for each session": new_options(),
        "convolutions not in blocks of channels": new_options(
            graph_optimization_level=level.ORT_ENABLE_EXTENDED
        ),
    }
    runners["an arena for each session"].add_session_config_entry("session.use_env_allocators", "0")
    runners["without spinning threads"].add_session_config_entry(
        "session.intra_op.allow_spinning", "0"
    )
    compared = {
        name: partial(run, open_session(model, options), photo[None])
        for name, options in runners.items()
    }
    compared["8 bits"] = partial(run, open_session(int8, new_options()), photo[None])
    return compared


def batches(model: Path, photo: Pixels) -> dict[str, Run]:
    """Several photos one after the other, and at once."""
    session = open_session(model, new_options())

    def run_each() -> Pixels:
        for _ in range(BATCH):
            output = run(session, photo[None])
        return output

    batch = np.repeat(photo[None], BATCH, axis=0)
    return {"one after the other": run_each, "in one batch": partial(run, session, batch)}


def tile_sizes(experiment: str, photo: Pixels) -> dict[str, Run]:
    """The product's own way, with its tiles and with others."""
    enhancer = inference.Enhancer(experiment, Device.CPU)

    def enhance_in(side: int) -> Pixels:
        with patch.object(tiles, "TILE", side):
            return enhancer.enhance(photo).output

    sides = {"as it is": tiles.TILE} | {f"of {side} pixels": side for side in TILES}
    return {name: partial(enhance_in, side) for name, side in sides.items()}


def new_options(**changed: object) -> onnxruntime.SessionOptions:
    """Options as the product sets them, but for `changed`."""
    options = session_options()
    for name, value in changed.items():
        setattr(options, name, value)
    return options


def open_session(model: Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    """Open a file on the CPU."""
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run(session: onnxruntime.InferenceSession, photos: Pixels) -> Pixels:
    """Compute all stages of `photos`, (b, h, w, 3); return the output of the first."""
    outputs: list[Pixels] = session.run(None, {"image": photos})
    return outputs[-1][0]


def print_table(compared: dict[str, Run], turns: int) -> None:
    """Time what is compared; print seconds, ratio and likeness to the first."""
    seconds = time_in_turns(compared, turns)
    now = next(iter(compared))
    output = compared[now]()
    for name, times in seconds.items():
        ratio = np.median(np.array(seconds[now]) / times)
        likeness = psnr(compared[name](), output)
        print(f"{name:40} {np.median(times):6.2f} s {ratio:6.2f}× {likeness:6.1f} dB")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Time other ways to run a network.")
    parser.add_argument("--experiment", default=DEFAULT_EXPERIMENT, choices=EXPERIMENTS)
    parser.add_argument("--size", type=int, nargs=2, default=(400, 600), metavar=("H", "W"))
    parser.add_argument("--turns", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
