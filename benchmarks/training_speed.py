"""Pairs per second of Decom-Net's training step, from a plain loop to `train.py`'s.

The plain loop is what a tutorial would write: float32, the default memory layout, low and high
photos through the network one after the other. Each line adds one thing; the last is `train.py`'s
own step, which leaves out what doesn't pay. All train the same network on the same crops in this
process, turn by turn, and the fastest turn of each counts; a turn before these warms up. Batches
are made from files and from decoded photos, as `train.py` does, in two lines of their own.
`--precision` forces a number format.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from measuring import time_in_turns
from PIL import Image
from torch import Tensor

from retinex.experiments import EXPERIMENTS
from retinex.training.averaging import average_weights
from retinex.training.losses import decom_loss
from retinex.training.memory import (
    MMAP_MAX,
    MMAP_THRESHOLD,
    TRIM_THRESHOLD,
    keep_freed_memory,
    load_glibc,
)
from retinex.training.networks import Decomposition, RetinexNet
from retinex.training.pairs import Batch, load_pairs, training_batches
from retinex.training.phases import Phase, build_optimizer, phase_losses, take_step
from retinex.training.precision import (
    Precision,
    autocast_for,
    memory_format_for,
    resolve_precision,
    training_device,
)

LEARNING_RATE, AVERAGE = 0.001, 0.999
PLAIN = "plain fp32 loop"


def main() -> None:
    """Time all steps and print a table."""
    args = parse_arguments()
    device = training_device()
    precision = resolve_precision(args.precision, device)
    low = torch.rand(args.batch_size, 3, args.crop, args.crop, device=device)
    high = torch.rand_like(low)
    fp32, chosen = (autocast_for(choice, device) for choice in (Precision.FP32, precision))
    steps = {
        PLAIN: plain_step(low, high),
        "+ freed memory kept": plain_step(low, high),
        "+ low and high in one batch": joint_step(low, high, fp32),
        "+ channels_last": joint_step(*map(channels_last, (low, high)), fp32),
    }
    if precision is Precision.BF16:
        steps["+ bf16"] = joint_step(*map(channels_last, (low, high)), chosen)
    if args.compile:
        steps["+ torch.compile"] = joint_step(
            *map(channels_last, (low, high)), chosen, compiled=True
        )
    steps["train.py"] = our_step(low, high, precision)
    # The plain loop comes between the two switches, all others after them.
    plain = {"off": return_freed_memory, PLAIN: steps[PLAIN], "on": keep_freed_memory}
    seconds = time_in_turns(plain | steps, args.turns, clock)
    print(f"Decom-Net, {args.batch_size} pairs of {args.crop} px, {device.type}")
    print_rates({name: min(seconds[name]) for name in steps}, args.batch_size)
    print("making a batch of photos of 400×600 pixels")
    print_rates(time_batches(args.batch_size, args.crop, args.turns), args.batch_size)


def print_rates(seconds: dict[str, float], pairs: int) -> None:
    """Print pairs a second, and how much faster than the first each is."""
    first = next(iter(seconds.values()))
    for name, needed in seconds.items():
        print(f"{name:36} {pairs / needed:8.1f} pairs/s  {first / needed:5.2f}×")


def clock() -> float:
    """Read the clock once the GPU, if there is one, has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def return_freed_memory() -> None:
    """Undo `keep_freed_memory`: let glibc do what it does after a few steps if it is left alone."""
    if libc := load_glibc():
        for name, value in ((MMAP_MAX, 65536), (MMAP_THRESHOLD, 2**25), (TRIM_THRESHOLD, 2**26)):
            libc.mallopt(name, value)
        libc.malloc_trim(0)


def new_network(device: torch.device) -> RetinexNet:
    """Build the same untrained network at every call."""
    torch.manual_seed(0)
    return RetinexNet(EXPERIMENTS["split_resize"]).to(device)


def plain_step(low: Tensor, high: Tensor) -> Callable[[], None]:
    """One step of the plain loop."""
    decom = new_network(low.device).decom
    optimizer = torch.optim.Adam(decom.parameters(), lr=LEARNING_RATE)

    def step() -> None:
        optimizer.zero_grad()
        decom_loss(decom(low), decom(high), low, high).backward()
        optimizer.step()

    return step


def channels_last(photos: Tensor) -> Tensor:
    """Lay a batch out in memory as convolutions like it."""
    return photos.contiguous(memory_format=torch.channels_last)


def joint_step(
    low: Tensor, high: Tensor, autocast: torch.autocast, compiled: bool = False
) -> Callable[[], None]:
    """One step with low and high photos as one batch, in the layout that they have."""
    decom = new_network(low.device).decom
    if low.is_contiguous(memory_format=torch.channels_last):
        decom = decom.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(decom.parameters(), lr=LEARNING_RATE)
    run = torch.compile(decom) if compiled else decom

    def step() -> None:
        optimizer.zero_grad()
        with autocast:
            both = run(torch.cat([low, high]))
        (r_low, r_high), (i_low, i_high) = (factor.float().chunk(2) for factor in both)
        of_low, of_high = Decomposition(r_low, i_low), Decomposition(r_high, i_high)
        decom_loss(of_low, of_high, low, high).backward()
        optimizer.step()

    return step


def our_step(low: Tensor, high: Tensor, precision: Precision) -> Callable[[], None]:
    """One step as train.py takes it."""
    layout = memory_format_for(precision)
    net = new_network(low.device).to(memory_format=layout)
    optimizer = build_optimizer(net, Phase.DECOM, LEARNING_RATE, LEARNING_RATE)
    autocast = autocast_for(precision, low.device)
    thumbnail = low[:, :, :64, :64]  # for PlusNet
    batch = Batch(*(photo.contiguous(memory_format=layout) for photo in (low, high)), thumbnail)
    averaged = average_weights(net, AVERAGE)

    def step() -> None:
        losses = phase_losses(net, Phase.DECOM, batch, autocast)
        take_step(losses, net, optimizer, averaged)
        losses["decom"].item()

    return step


def time_batches(batch_size: int, crop: int, turns: int) -> dict[str, float]:
    """Seconds to make a batch of photos in files, and of decoded ones with their thumbnails."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("low", "high"):
            (Path(folder) / kind).mkdir()
            for index in range(batch_size):
                # As smooth and as noisy as a photo, so that decoding takes as long.
                smooth = np.linspace(0, 200, 600)[None, :, None] + rng.normal(0, 3, (400, 600, 3))
                photo = Image.fromarray(smooth.clip(0, 255).astype(np.uint8))
                photo.save(Path(folder) / kind / f"{index}.png")
        decoded = load_pairs([Path(folder)])
        seconds = time_in_turns(
            {
                "from files": lambda: next(
                    training_batches(load_pairs([Path(folder)]), crop, batch_size, rng)
                ),
                "from memory": lambda: next(training_batches(decoded, crop, batch_size, rng)),
            },
            turns,
        )
    return {name: min(times) for name, times in seconds.items()}


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Compare training speed with a plain loop.")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--crop", type=int, default=96)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="try torch.compile (minutes)")
    parser.add_argument(
        "--precision", type=Precision, choices=list(Precision), default=Precision.AUTO
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
