"""The moving average of weights while they are trained: steadier than any of them."""

import torch
from torch import Tensor
from torch.optim.swa_utils import PARAM_LIST, AveragedModel

from retinex.training.build import Network

WARM_UP = 10
"""At first the average spans a tenth of the steps so far."""


def average_weights(net: Network, decay: float) -> AveragedModel:
    """Copy `net` to a model whose weights follow it: w̄ ← d · w̄ + (1 − d) · w at each update.

    d is `decay`, but less in the first steps, so that untrained weights are forgotten. A `decay` of
    0 makes it a plain copy.
    """

    # All at once: asking for `updates` makes a GPU wait.
    def follow(averages: PARAM_LIST, weights: PARAM_LIST, updates: Tensor | int) -> None:
        so_far = (1 + updates) / (WARM_UP + updates)
        torch._foreach_lerp_(averages, weights, 1 - min(decay, float(so_far)))

    return AveragedModel(net, multi_avg_fn=follow)
