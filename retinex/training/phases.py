"""The phases an experiment trains in, and what each of them minimises."""

from enum import StrEnum

import torch
from torch import Tensor

from retinex.experiments import Experiment, Mode
from retinex.training.losses import decom_loss, enhance_loss
from retinex.training.networks import Decomposition, RetinexNet


class Phase(StrEnum):
    """One pass of training over `n_epochs` epochs."""

    DECOM = "decom"
    """Decom-Net alone, on L_decom."""
    ENHANCE = "enhance"
    """Enhance-Net on L_enhance; Decom-Net is frozen."""
    JOIN = "join"
    """Both networks on L_decom + L_enhance."""


Losses = dict[str, Tensor]
"""The scalar losses a phase minimises the sum of, by name: "decom", "enhance"."""


def phases_of(experiment: Experiment) -> list[Phase]:
    """List the phases of `experiment` in order."""
    return [Phase.DECOM, Phase.ENHANCE] if experiment.mode is Mode.SPLIT else [Phase.JOIN]


def build_optimizer(
    net: RetinexNet, phase: Phase, decom_lr: float, rel_lr: float
) -> torch.optim.Adam:
    """Adam over all the weights that `phase` trains, each network at its own learning rate."""
    groups = []
    if phase is not Phase.ENHANCE:
        groups.append({"params": list(net.decom.parameters()), "lr": decom_lr})
    if phase is not Phase.DECOM and net.enhance is not None:
        groups.append({"params": list(net.enhance.parameters()), "lr": rel_lr})
    return torch.optim.Adam(groups)


def phase_losses(
    net: RetinexNet, phase: Phase, low: Tensor, high: Tensor, autocast: torch.autocast
) -> Losses:
    """Compute the losses of `phase` on a batch.

    Args:
        low: dark photos, (b, 3, h, w) in [0, 1].
        high: the same scenes in normal light.
        autocast: the networks run inside it; the losses are always computed in float32.
    """
    if phase is Phase.ENHANCE:
        return _enhance_losses(net, low, high, autocast)

    with autocast:
        # One batch of twice the size is faster than two.
        both = net.decom(torch.cat([low, high]))
        of_low, of_high = (Decomposition(r, i) for r, i in zip(*map(_halves, both), strict=True))
        enhanced_illumination = None if phase is Phase.DECOM else net.brighten(of_low)

    of_low, of_high = _to_float(of_low), _to_float(of_high)
    losses = {"decom": decom_loss(of_low, of_high, low, high)}
    if enhanced_illumination is not None:
        losses["enhance"] = enhance_loss(of_low.reflectance, enhanced_illumination.float(), high)
    return losses


def _enhance_losses(net: RetinexNet, low: Tensor, high: Tensor, autocast: torch.autocast) -> Losses:
    with autocast:
        with torch.no_grad():
            of_low = net.decom(low)
        enhanced_illumination = net.brighten(of_low)
    reflectance = of_low.reflectance.float()
    return {"enhance": enhance_loss(reflectance, enhanced_illumination.float(), high)}


def _halves(batch: Tensor) -> tuple[Tensor, ...]:
    return batch.chunk(2)


def _to_float(decomposition: Decomposition) -> Decomposition:
    return Decomposition(*(factor.float() for factor in decomposition))
