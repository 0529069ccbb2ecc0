"""The phases an experiment trains in, and what each of them minimises."""

from enum import StrEnum

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from retinex.experiments import Experiment, Mode
from retinex.training.build import Network
from retinex.training.losses import PAPERS_CODE, DecomWeights, decom_loss, enhance_loss, plus_loss
from retinex.training.muon import Muon
from retinex.training.networks import Decomposition, RetinexNet, RetinexStages
from retinex.training.pairs import Batch
from retinex.training.plus_network import PlusNet

LONGEST_GRADIENT = 1.0
"""Norm that gradients are clipped to; RetinexNet's stay below but for its first steps."""


class DivergedError(ArithmeticError):
    """Training has left the numbers; the message says where, and what to do."""


class Phase(StrEnum):
    """One pass of training over `n_epochs` epochs."""

    DECOM = "decom"
    """Decom-Net alone, on L_decom."""
    ENHANCE = "enhance"
    """Enhance-Net on L_enhance; Decom-Net is frozen."""
    JOIN = "join"
    """Both networks on L_decom + L_enhance."""
    PLUS = "plus"
    """PlusNet on its own loss."""


Losses = dict[str, Tensor]
"""The scalar losses a phase minimises the sum of, by name: "decom", "enhance", "plus"."""


def phases_of(experiment: Experiment) -> list[Phase]:
    """List the phases of `experiment` in order."""
    match experiment.mode:
        case Mode.SPLIT:
            return [Phase.DECOM, Phase.ENHANCE]
        case Mode.JOIN:
            return [Phase.JOIN]
        case Mode.PLUS:
            return [Phase.PLUS]


def build_optimizer(
    net: Network, phase: Phase, decom_lr: float, rel_lr: float
) -> torch.optim.Optimizer:
    """Adam over all the weights that `phase` trains, each network at its own learning rate.

    PlusNet's is Muon, at `decom_lr`.
    """
    if isinstance(net, PlusNet):
        return Muon(net.parameters(), decom_lr)
    groups = []
    if phase is not Phase.ENHANCE:
        groups.append({"params": list(net.decom.parameters()), "lr": decom_lr})
    if phase is not Phase.DECOM and net.enhance is not None:
        groups.append({"params": list(net.enhance.parameters()), "lr": rel_lr})
    return torch.optim.Adam(groups)


def take_step(
    losses: Losses, net: Network, optimizer: torch.optim.Optimizer, averaged: AveragedModel
) -> None:
    """Move the weights of `net` down the slope of the losses' sum, and `averaged` after them.

    Raises:
        DivergedError: a loss or a gradient isn't finite; the weights are as they were.
    """
    total = torch.stack(list(losses.values())).sum()
    optimizer.zero_grad()
    total.backward()
    trained = [weights for group in optimizer.param_groups for weights in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(trained, LONGEST_GRADIENT)
    if not (total + norm).isfinite():
        raise DivergedError("a loss or a gradient isn't finite")
    optimizer.step()
    averaged.update_parameters(net)


def phase_losses(
    net: Network,
    phase: Phase,
    batch: Batch,
    autocast: torch.autocast,
    weights: DecomWeights = PAPERS_CODE,
    mean_weight: float = 0.0,
) -> Losses:
    """Compute the losses of `phase` on a batch.

    L_decom is weighted by `weights`; `mean_weight` is PlusNet's λ_mean.

    The networks run inside `autocast`; the losses are always computed in float32.
    """
    if isinstance(net, PlusNet):
        return _plus_losses(net, batch, autocast, mean_weight)
    if phase is Phase.ENHANCE:
        return _enhance_losses(net, batch, autocast)

    low, high, _ = batch
    with autocast:
        # One batch of twice the size is faster than two.
        both = net.decom(torch.cat([low, high]))
        of_low, of_high = (
            Decomposition(r, i) for r, i in zip(*(factor.chunk(2) for factor in both), strict=True)
        )
        enhanced_illumination = None if phase is Phase.DECOM else net.brighten(of_low)

    of_low, of_high = _to_float(of_low), _to_float(of_high)
    losses = {"decom": decom_loss(of_low, of_high, low, high, weights)}
    if enhanced_illumination is not None:
        losses["enhance"] = enhance_loss(of_low.reflectance, enhanced_illumination.float(), high)
    return losses


def _plus_losses(
    net: PlusNet, batch: Batch, autocast: torch.autocast, mean_weight: float
) -> Losses:
    with autocast:
        stages = net(batch.low, batch.thumbnail)
    in_float = RetinexStages(*(stage.float() for stage in stages))
    return {"plus": plus_loss(in_float, batch.low, batch.high, mean_weight)}


def _enhance_losses(net: RetinexNet, batch: Batch, autocast: torch.autocast) -> Losses:
    with autocast:
        with torch.no_grad():
            of_low = net.decom(batch.low)
        enhanced_illumination = net.brighten(of_low)
    reflectance = of_low.reflectance.float()
    return {"enhance": enhance_loss(reflectance, enhanced_illumination.float(), batch.high)}


def _to_float(decomposition: Decomposition) -> Decomposition:
    return Decomposition(*(factor.float() for factor in decomposition))
