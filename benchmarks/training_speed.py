"""Pairs per second of `train.py`'s step against a plain loop.

Both sides train the same network on the same crops in the same process, turn by turn, and the
fastest turn of each counts. The plain loop is what a tutorial would write: float32, the default
memory layout, low and high photos through Decom-Net one after the other. `--precision` forces a
number format on train.py's side.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from retinex.experiments import EXPERIMENTS
from retinex.training.losses import decom_loss
from retinex.training.networks import RetinexNet
from retinex.training.pairs import Batch
from retinex.training.phases import Phase, build_optimizer, phase_losses
from retinex.training.precision import (
    Precision,
    autocast_for,
    resolve_precision,
    training_device,
)

LEARNING_RATE = 0.001


def main() -> None:
    """Time both sides and print a table."""
    args = parse_arguments()
    device = training_device()
    precision = resolve_precision(args.precision, device)
    low = torch.rand(args.batch_size, 3, args.crop, args.crop, device=device)
    high = torch.rand_like(low)
    steps = {
        "plain fp32 loop": plain_step(low, high),
        f"train.py, {precision}, channels_last": our_step(low, high, precision),
    }
    fastest = {name: float("inf") for name in steps}
    for _ in range(args.turns):
        for name, step in steps.items():
            fastest[name] = min(fastest[name], time_step(step, device))
    plain = next(iter(fastest.values()))
    print(f"Decom-Net, {args.batch_size} pairs of {args.crop} px, {device.type}")
    for name, seconds in fastest.items():
        print(f"{name:36} {args.batch_size / seconds:8.1f} pairs/s  {plain / seconds:5.2f}×")


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


def our_step(low: Tensor, high: Tensor, precision: Precision) -> Callable[[], None]:
    """One step as train.py takes it."""
    net = new_network(low.device).to(memory_format=torch.channels_last)
    optimizer = build_optimizer(net, Phase.DECOM, LEARNING_RATE, LEARNING_RATE)
    autocast = autocast_for(precision, low.device)
    batch = Batch(  # the thumbnail is for PlusNet
        low.contiguous(memory_format=torch.channels_last),
        high.contiguous(memory_format=torch.channels_last),
        thumbnail=low[:, :, :64, :64],
    )

    def step() -> None:
        losses = phase_losses(net, Phase.DECOM, batch, autocast)
        optimizer.zero_grad()
        losses["decom"].backward()
        optimizer.step()

    return step


def time_step(step: Callable[[], None], device: torch.device) -> float:
    """Seconds one step takes."""
    started = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Compare training speed with a plain loop.")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--crop", type=int, default=96)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument(
        "--precision", type=Precision, choices=list(Precision), default=Precision.AUTO
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
