"""Average released weights of one experiment, such as those before and after training on.

`python results/average_weights.py --out OUT.safetensors A.safetensors B.safetensors`; a file named
twice counts twice. What training on gained is kept for the most part, and less is lost of what the
network could do before (Wortsman et al., "Robust Fine-Tuning of Zero-Shot Models", CVPR 2022).
"""

import argparse
import itertools
from pathlib import Path

import torch

from retinex.training.checkpoints import (
    CheckpointError,
    Facts,
    load_weights,
    runs_behind,
    save_weights,
)


def main() -> None:
    """Write the mean of the weights, with the facts of those named last and of all runs behind."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("weights", type=Path, nargs="+")
    args = parser.parse_args()
    if len(args.weights) == 1:
        parser.error("name two files or more to average")
    try:
        nets, experiments, facts = zip(*map(load_weights, args.weights), strict=True)
    except CheckpointError as error:
        parser.error(str(error))
    if len(set(experiments)) > 1:
        parser.error("these are weights of different experiments")
    net = nets[-1]
    with torch.no_grad():
        for parameters in zip(*(net.parameters() for net in nets), strict=True):
            parameters[-1].copy_(torch.stack(parameters).mean(dim=0))
    *_, last = runs_behind(facts[-1])
    before: list[Facts] = []
    for run in itertools.chain.from_iterable(map(runs_behind, facts)):
        if run != last and run not in before:
            before.append(run)
    made = {"averaged": len(nets), "started_from": before}
    save_weights(args.out, net, facts[-1] | made)


if __name__ == "__main__":
    main()
