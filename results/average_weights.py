"""Average released weights of one experiment, such as those before and after training on.

`python results/average_weights.py OUT.safetensors A.safetensors B.safetensors`. What training on
gained is kept for the most part, and less is lost of what the network could do before (Wortsman et
al., "Robust Fine-Tuning of Zero-Shot Models", CVPR 2022).
"""

import argparse
from pathlib import Path

import torch

from retinex.training.checkpoints import load_weights, save_weights


def main() -> None:
    """Write the mean of the weights, with the facts of those named last."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("weights", type=Path, nargs="+")
    args = parser.parse_args()
    nets, experiments, facts = zip(*map(load_weights, args.weights), strict=True)
    if len(set(experiments)) > 1:
        parser.error("these are weights of different experiments")
    net = nets[-1]
    with torch.no_grad():
        for parameters in zip(*(net.parameters() for net in nets), strict=True):
            parameters[-1].copy_(torch.stack(parameters).mean(dim=0))
    save_weights(args.out, net, facts[-1] | {"average_of": [path.stem for path in args.weights]})


if __name__ == "__main__":
    main()
