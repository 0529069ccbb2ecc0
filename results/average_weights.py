"""Average released weights of one experiment, such as those before and after training on.

`python results/average_weights.py OUT.safetensors A.safetensors B.safetensors`; a file named twice
counts twice. What training on gained is kept for the most part, and less is lost of what the
network could do before (Wortsman et al., "Robust Fine-Tuning of Zero-Shot Models", CVPR 2022).
`--brighten` corrects the exposure of `retinex_plus` where scenes that it wasn't trained on come out
too dark.
"""

import argparse
from pathlib import Path

import torch

from retinex.training.checkpoints import CheckpointError, Facts, load_weights, save_weights
from retinex.training.plus_network import PlusNet


def main() -> None:
    """Write the mean of the weights, with the facts of those named last and of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("weights", type=Path, nargs="+")
    parser.add_argument(
        "--brighten",
        type=float,
        default=0.0,
        metavar="LOGIT",
        help="added to PlusNet's Î before the sigmoid: 0.1 makes 0.5 of it 0.525 (default 0)",
    )
    args = parser.parse_args()
    if len(args.weights) == 1 and not args.brighten:
        parser.error("name OUT first, then two files or more to average")
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
    made: Facts = {"average_of": list(facts), "brightened": args.brighten}
    if args.brighten:
        if not isinstance(net, PlusNet):
            parser.error("--brighten is for retinex_plus")
        brighten(net, args.brighten)
    save_weights(args.out, net, facts[-1] | made)


@torch.no_grad()
def brighten(net: PlusNet, logit: float) -> None:
    """Add to what becomes Î: the fifth of the six maps, each made of four channels."""
    assert net.output_conv.bias is not None
    net.output_conv.bias[4 * 4 : 5 * 4] += logit


if __name__ == "__main__":
    main()
