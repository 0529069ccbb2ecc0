from pathlib import Path

import pytest
import torch
from torch import nn

from retinex.experiments import EXPERIMENTS, Experiment
from retinex.training import precision
from retinex.training.build import build_network
from retinex.training.checkpoints import load_weights
from retinex.training.losses import smoothness_loss
from retinex.training.networks import OutputConv, RetinexNet
from retinex.training.pairs import Batch
from retinex.training.phases import build_optimizer, phase_losses, phases_of
from retinex.training.precision import (
    Precision,
    autocast_for,
    convolution_seconds,
    resolve_precision,
    training_device,
)

CHECKPOINTS = Path(__file__).parent.parent / "checkpoints"
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("capabilities", [{}, {"avx2": True, "avx512_bf16": False}])
def test_auto_on_a_cpu_without_bf16_takes_fp32_untried(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool]
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr(precision, "convolution_seconds", lambda _: pytest.fail("emulates bf16"))

    assert resolve_precision(Precision.AUTO, CPU) is Precision.FP32


@pytest.mark.parametrize("instructions", ["amx_bf16", "avx512_bf16"])
@pytest.mark.parametrize("faster", [Precision.FP32, Precision.BF16])
def test_auto_on_a_cpu_with_bf16_takes_the_faster_one(
    monkeypatch: pytest.MonkeyPatch, instructions: str, faster: Precision
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {instructions: True})
    monkeypatch.setattr(
        precision, "convolution_seconds", lambda tried: 1.0 if tried is faster else 2.0
    )

    assert resolve_precision(Precision.AUTO, CPU) is faster


@pytest.mark.parametrize(
    ("tried", "dtype"), [(Precision.FP32, torch.float32), (Precision.BF16, torch.bfloat16)]
)
def test_a_convolution_is_timed_in_the_format_asked_for(
    tried: Precision, dtype: torch.dtype
) -> None:
    formats = set()
    note = nn.modules.module.register_module_forward_hook(
        lambda module, inputs, output: formats.add(output.dtype)
    )
    with note:
        assert convolution_seconds(tried) > 0
    assert formats == {dtype}


@pytest.mark.parametrize("in_hardware", [True, False])
def test_auto_on_a_gpu_ignores_emulated_bf16(
    monkeypatch: pytest.MonkeyPatch, in_hardware: bool
) -> None:
    def is_bf16_supported(including_emulation: bool = True) -> bool:
        return in_hardware or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)

    expected = Precision.BF16 if in_hardware else Precision.FP32
    assert resolve_precision(Precision.AUTO, CUDA) is expected


@pytest.mark.parametrize("chosen", [Precision.FP32, Precision.BF16])
@pytest.mark.parametrize("has_bf16", [True, False])
def test_an_explicit_choice_stays(
    monkeypatch: pytest.MonkeyPatch, chosen: Precision, has_bf16: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": has_bf16})

    assert resolve_precision(chosen, CPU) is chosen


@pytest.mark.parametrize("available", [True, False])
def test_training_takes_the_gpu_if_there_is_one(
    monkeypatch: pytest.MonkeyPatch, available: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)

    assert training_device().type == ("cuda" if available else "cpu")


def test_float32_is_not_rounded_to_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)

    training_device()

    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_bf16_steps_keep_weights_and_losses_in_float32(experiment: Experiment) -> None:
    torch.manual_seed(0)
    net = build_network(experiment)
    low, high = torch.rand(2, 3, 16, 16) / 10, torch.rand(2, 3, 16, 16)
    batch = Batch(low, high, torch.rand(2, 3, 64, 64) / 10)
    autocast = autocast_for(Precision.BF16, CPU)
    dtypes = set()
    for module in net.modules():
        inner = isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
        if inner and not isinstance(module, OutputConv):
            module.register_forward_hook(lambda *call: dtypes.add(call[-1].dtype))
    with autocast:
        net(low)
    assert dtypes == {torch.bfloat16}

    for phase in phases_of(experiment):
        before = [parameter.clone() for parameter in net.parameters()]
        losses = phase_losses(net, phase, batch, autocast)
        sum(losses.values()).backward()
        build_optimizer(net, phase, decom_lr=0.001, rel_lr=0.001).step()

        for loss in losses.values():
            assert loss.dtype == torch.float32
            assert loss.isfinite()
        assert any(not torch.equal(*both) for both in zip(before, net.parameters(), strict=True))
    for parameter in net.parameters():
        assert parameter.dtype == torch.float32
        assert parameter.isfinite().all()


def test_bf16_leaves_a_smooth_illumination_its_slope() -> None:
    net = load_weights(CHECKPOINTS / "join.safetensors")[0].train()
    assert isinstance(net, RetinexNet) and net.enhance is not None
    low = torch.linspace(0.02, 0.2, 48).expand(1, 3, 48, 48)
    with autocast_for(Precision.BF16, CPU):
        illumination, enhanced_illumination = net(low)[1:3]
    for light in (illumination, enhanced_illumination):
        assert (light[..., 1:] == light[..., :-1]).float().mean() < 0.05

    smoothness_loss(enhanced_illumination, low).backward()
    assert net.enhance.output_conv.weight.grad.norm() > 0
