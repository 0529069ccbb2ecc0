"""Time and memory of one photo in a fresh process, by its size.

For each size, a process imports the package, opens the networks and enhances one photo; it reports
seconds of each of these steps and of all, seconds per megapixel, its resident memory at its peak
and the device that the networks ran on. Memory includes the photo (held twice: the array and the
decoded photo) and all its stages, 14 bytes a pixel.
"""

import argparse
import multiprocessing
import time

from measuring import peak_memory


def main() -> None:
    """Enhance a photo of each size, each in a new process, and print a table."""
    args = parse_arguments()
    print("megapixels   import     open  enhance      all  s/megapixel  peak memory  device")
    for megapixels in args.megapixels:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            *steps, peak, device = pool.apply(
                enhance_once, (megapixels, args.experiment, args.device)
            )
        seconds = "".join(f"{step:7.2f} s" for step in (*steps, sum(steps)))
        print(
            f"{megapixels:10.2f}{seconds} {steps[-1] / megapixels:12.2f} {peak / 1e9:9.2f} GB  "
            f"{device}",
            flush=True,
        )


def enhance_once(
    megapixels: float, experiment: str, device: str
) -> tuple[float, float, float, int, str]:
    """Return seconds to import, open and enhance, bytes of memory at the peak, and the device."""
    started = time.perf_counter()
    import retinex

    imported = time.perf_counter()
    enhancer = retinex.Enhancer(experiment, device)
    opened = time.perf_counter()

    import numpy as np

    height, width = round((megapixels * 2e6 / 3) ** 0.5), round((megapixels * 3e6 / 2) ** 0.5)
    photo = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    enhancement = enhancer.enhance(photo)
    times = imported - started, opened - imported, enhancement.seconds
    return *times, peak_memory(), enhancement.device.label


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Measure time and memory by a photo's size.")
    parser.add_argument("--megapixels", type=float, nargs="+", default=[0.24, 1, 4])
    parser.add_argument("--experiment", default="retinex_plus")
    parser.add_argument("--device", default="auto")
    return parser.parse_args()


if __name__ == "__main__":
    main()
