"""The moving average of weights while they are trained: steadier than any of them."""

from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from retinex.training.build import Network

WARM_UP = 10
"""At first the average spans a tenth of the steps so far."""


def average_weights(net: Network, decay: float) -> AveragedModel:
    """Copy `net` to a model whose weights follow it: w̄ ← d · w̄ + (1 − d) · w at each update.

    d is `decay`, but less in the first steps, so that untrained weights are forgotten. A `decay` of
    0 makes it a plain copy.
    """

    def follow(average: Tensor, weight: Tensor, updates: Tensor | int) -> Tensor:
        so_far = (1 + updates) / (WARM_UP + updates)
        return average.lerp(weight, 1 - min(decay, float(so_far)))

    return AveragedModel(net, avg_fn=follow)
