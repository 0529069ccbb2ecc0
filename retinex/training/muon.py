"""Muon (Jordan et al., 2024): the optimizer of PlusNet, which learns faster by it than by Adam.

`torch.optim.Muon` takes matrices alone; this one takes kernels, too, and moves the rest by Adam.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

SMALLEST_MATRIX = 16
"""Rows and columns that weights need, as a matrix, for a step that is orthogonal."""
MOMENTUM = 0.95
DECAYS = 0.9, 0.999
"""Of Adam's means of gradients and of their squares."""
ITERATIONS = 5
COEFFICIENTS = 3.4445, -4.775, 2.0315
"""Of the polynomial that, repeated, brings singular values near 1; those of the authors."""
ADAMS_LENGTH = 0.2
"""Root mean square of Adam's steps per learning rate (Liu et al., 2025): one rate suits both."""


class Muon(torch.optim.Optimizer):
    """Moves matrices by their momentum made orthogonal, as far as Adam would; all else by Adam.

    A convolution's kernel is a matrix of a row for each output channel; biases, norms and what
    looks at one channel only are too small for it. Unlike the authors, first and last layers aren't
    left to Adam.
    """

    def __init__(self, weights: Iterable[nn.Parameter], lr: float) -> None:
        super().__init__(weights, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take a step along the gradients; weights that have none stay."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                if is_matrix(weight):
                    self._step_orthogonally(weight, group["lr"])
                else:
                    self._step_as_adam(weight, group["lr"])

    def _step_orthogonally(self, weight: nn.Parameter, rate: float) -> None:
        assert weight.grad is not None
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        momentum = state["momentum"].mul_(MOMENTUM).add_(weight.grad)
        ahead = weight.grad.add(momentum, alpha=MOMENTUM)  # Nesterov's
        step = orthogonalise(ahead.flatten(1))
        length = ADAMS_LENGTH * max(step.shape) ** 0.5
        weight.sub_(step.reshape(weight.shape), alpha=rate * length)

    def _step_as_adam(self, weight: nn.Parameter, rate: float) -> None:
        assert weight.grad is not None
        state = self.state[weight]
        if not state:
            state.update(step=0, mean=torch.zeros_like(weight), square=torch.zeros_like(weight))
        state["step"] += 1
        of_mean, of_square = (1 - decay ** state["step"] for decay in DECAYS)
        state["mean"].lerp_(weight.grad, 1 - DECAYS[0])
        state["square"].lerp_(weight.grad.square(), 1 - DECAYS[1])
        spread = (state["square"] / of_square).sqrt_().add_(1e-8)
        weight.addcdiv_(state["mean"], spread, value=-rate / of_mean)


def is_matrix(weight: Tensor) -> bool:
    """Tell whether weights are a matrix large enough for a step that is orthogonal."""
    return weight.ndim > 1 and min(len(weight), weight[0].numel()) >= SMALLEST_MATRIX


def orthogonalise(matrix: Tensor) -> Tensor:
    """Bring the singular values of (rows, columns) to about 1, 0.7 to 1.2, by Newton and Schulz.

    Directions that the matrix has next to nothing of stay smaller.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    near = matrix.T if tall else matrix
    near = near / (near.norm() + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        square = near @ near.T
        near = a * near + (b * square + c * square @ square) @ near
    orthogonal: Tensor = near.T if tall else near
    return orthogonal
