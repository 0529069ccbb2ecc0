import pytest
import torch
from torch import nn

from retinex.training.muon import Muon, orthogonalise
from retinex.training.phases import Phase, build_optimizer
from retinex.training.plus_network import PlusNet


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


@pytest.mark.parametrize("shape", [(24, 40), (24, 10, 2, 2)])
def test_matrices_and_kernels_move_as_matrices_do_with_pytorchs_muon(
    shape: tuple[int, ...],
) -> None:
    torch.manual_seed(0)
    ours, reference = (nn.Parameter(torch.zeros(size)) for size in (shape, (24, 40)))
    pytorchs = torch.optim.Muon([reference], 0.01, weight_decay=0, adjust_lr_fn="match_rms_adamw")
    optimizer = Muon([ours], 0.01)
    for _ in range(4):
        ours.grad = torch.randn(shape)
        reference.grad = ours.grad.reshape(24, 40)
        optimizer.step()
        pytorchs.step()
    # PyTorch's computes in bf16.
    assert (ours.reshape(24, 40) - reference).norm() < 0.03 * reference.norm()


def test_weights_without_a_gradient_stay() -> None:
    weights = nn.Parameter(torch.ones(16, 16))
    optimizer = Muon([weights], 0.1)
    optimizer.step()
    assert torch.equal(weights, torch.ones(16, 16))


def test_plus_is_trained_by_muon() -> None:
    net = PlusNet()
    weights = net.from_eighth.conv.weight
    before = weights.detach().clone()
    optimizer = build_optimizer(net, Phase.PLUS, decom_lr=0.01, rel_lr=1)
    net(torch.rand(1, 3, 16, 16)).output.sum().backward()
    optimizer.step()
    # Adam's first step moves each weight by 0.01.
    assert 0 < (weights - before).square().mean().sqrt() < 0.003
