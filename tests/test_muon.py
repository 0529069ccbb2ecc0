import pytest
import torch
from torch import nn

from retinex.training.muon import Muon, orthogonalise


@pytest.mark.parametrize("shape", [(16, 16), (24, 90), (90, 24)])
def test_steps_go_as_far_in_every_direction(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    left, values, right = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    spread = left @ torch.diag(torch.linspace(0.2, 1, len(values))) @ right
    step = orthogonalise(spread)
    # The matrix's own directions, each with a singular value of about 1.
    lengths = left.T @ step @ right.T
    assert lengths.diagonal().min() > 0.6 and lengths.diagonal().max() < 1.3
    assert (lengths - torch.diag(lengths.diagonal())).abs().max() < 1e-4


def test_what_is_no_large_matrix_moves_as_with_adam() -> None:
    ours, reference = (
        [nn.Parameter(torch.linspace(-1, 1, 36).reshape(shape)) for shape in ((36,), (4, 1, 3, 3))]
        for _ in range(2)
    )
    optimizers = Muon(ours, 0.01), torch.optim.Adam(reference, 0.01)
    for step in range(5):
        for weights, optimizer in zip((ours, reference), optimizers, strict=True):
            optimizer.zero_grad()
            sum((weight**2 * (step + 1)).sum() for weight in weights).backward()
            optimizer.step()
    for mine, adams in zip(ours, reference, strict=True):
        torch.testing.assert_close(mine, adams)


def test_kernels_move_about_as_far_as_with_adam() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(32, 48, 3)
    before = conv.weight.clone()
    optimizer = Muon(conv.parameters(), 0.01)
    conv(torch.rand(2, 32, 8, 8)).square().mean().backward()
    optimizer.step()
    moved = (conv.weight - before).square().mean().sqrt().item()
    assert 0.001 < moved < 0.004


def test_weights_without_a_gradient_stay() -> None:
    weights = nn.Parameter(torch.ones(16, 16))
    optimizer = Muon([weights], 0.1)
    optimizer.step()
    assert torch.equal(weights, torch.ones(16, 16))
