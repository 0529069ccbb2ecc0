import pytest
import torch
from torch import nn

from retinex.experiments import EXPERIMENTS
from retinex.training.averaging import average_weights
from retinex.training.networks import RetinexNet


def fill(net: nn.Module, value: float) -> None:
    with torch.no_grad():
        for weights in net.parameters():
            weights.fill_(value)


def only_value(net: nn.Module) -> float:
    (value,) = torch.cat([weights.ravel() for weights in net.parameters()]).unique().tolist()
    return float(value)


def test_the_average_lags_behind_by_its_decay() -> None:
    net = RetinexNet(EXPERIMENTS["join_ignore_enhance"])
    averaged = average_weights(net, 0.75)
    for _ in range(100):
        fill(net, 1.0)
        averaged.update_parameters(net)

    fill(net, 9.0)
    averaged.update_parameters(net)

    assert only_value(averaged.module) == pytest.approx(0.75 * 1.0 + 0.25 * 9.0)
    assert only_value(net) == 9.0


def test_untrained_weights_are_forgotten_long_before_the_decay_would() -> None:
    net = RetinexNet(EXPERIMENTS["join_ignore_enhance"])
    averaged = average_weights(net, 0.999)
    fill(net, 1000.0)
    averaged.update_parameters(net)

    fill(net, 1.0)
    for _ in range(100):
        averaged.update_parameters(net)

    assert only_value(averaged.module) == pytest.approx(1.0, abs=0.01)


def test_no_decay_is_a_copy() -> None:
    net = RetinexNet(EXPERIMENTS["join_ignore_enhance"])
    averaged = average_weights(net, 0.0)
    for value in (1.0, 2.0, 3.0):
        fill(net, value)
        averaged.update_parameters(net)
        assert only_value(averaged.module) == value
