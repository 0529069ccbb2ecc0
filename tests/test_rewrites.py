"""The exported form of the networks against the one that was trained, both in PyTorch."""

import pytest
import torch
from conftest import difference, lively_net
from torch import Tensor

from retinex.experiments import EXPERIMENTS, Mode
from retinex.training.build import Network
from retinex.training.networks import Decomposition, RetinexNet
from retinex.training.plus_network import PlusNet
from retinex.training.portable import (
    BORDER,
    WIDE_BORDER,
    add_border,
    crop_border,
    make_thumbnail,
    run_in_torch,
    to_image,
    to_photo,
)
from retinex.training.rewrites import rewrite

SIZES = ((1, 1), (1, 9), (7, 5), (8, 16), (33, 47), (40, 23))

RETINEX_NETS = [name for name, e in EXPERIMENTS.items() if e.mode is not Mode.PLUS]

each_experiment = pytest.mark.parametrize("name", EXPERIMENTS)


def net_with_biases(name: str) -> Network:
    """Build a network none of whose weights is 0: untrained biases are."""
    net = lively_net(EXPERIMENTS[name])
    for parameter_name, parameter in net.named_parameters():
        if parameter_name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.2)
    return net


def assert_equal(ours: Tensor, reference: Tensor) -> None:
    """Equal up to what float32 rounds off."""
    assert reference.std() > 0
    torch.testing.assert_close(ours, reference, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("name", RETINEX_NETS)
def test_each_network_is_the_same_function(name: str) -> None:
    net = net_with_biases(name)
    rewritten = rewrite(net)
    assert isinstance(net, RetinexNet) and isinstance(rewritten, RetinexNet)
    for height, width in SIZES:
        photo = torch.rand(2, 3, height, width)
        factors = [decom(add_border(photo * decom.white)) for decom in (net.decom, rewritten.decom)]
        reference, ours = [
            Decomposition(*(crop_border(factor, height, width) for factor in both))
            for both in factors
        ]
        for factor, expected in zip(ours, reference, strict=True):
            assert_equal(factor, expected)
        if net.enhance is not None:
            bordered = Decomposition(*map(add_border, reference))
            # Not only what is kept: all of the border but its outermost pixels.
            expected = net.enhance(bordered)[:, :, 1:-1, 1:-1]
            assert_equal(rewritten.enhance(bordered)[:, :, 1:-1, 1:-1], expected)


@each_experiment
def test_images_are_the_same(name: str) -> None:
    net = net_with_biases(name)
    rewritten = rewrite(net)
    for size in SIZES:
        image = torch.randint(0, 256, (1, *size, 3), dtype=torch.uint8).numpy()
        pairs = zip(run_in_torch(rewritten, image), run_in_torch(net, image), strict=True)
        for ours, reference in pairs:
            assert difference(ours, reference) <= 1


@pytest.mark.parametrize("name", RETINEX_NETS)
def test_photos_are_read_in_numbers_that_bf16_has(name: str) -> None:
    rewritten = rewrite(net_with_biases(name))
    assert isinstance(rewritten, RetinexNet)
    seen: list[Tensor] = []
    rewritten.decom.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs))
    every_value = torch.arange(256, dtype=torch.uint8).repeat(3).reshape(1, 16, 16, 3)
    run_in_torch(rewritten, every_value.numpy())
    (photo,) = seen
    assert photo.unique().numel() == 256
    assert torch.equal(photo, photo.bfloat16().float())


@torch.inference_mode()
def test_stages_made_phase_by_phase_are_those_of_the_network() -> None:
    net = net_with_biases("retinex_plus")
    assert isinstance(net, PlusNet)
    for height, width in SIZES:
        image = torch.randint(0, 256, (2, height, width, 3), dtype=torch.uint8)
        bordered = add_border(to_photo(image), WIDE_BORDER)
        stages = net(bordered, to_photo(make_thumbnail(image)))
        for ours, stage in zip(run_in_torch(net, image.numpy()), stages, strict=True):
            expected = to_image(crop_border(stage, height, width, WIDE_BORDER))
            assert difference(ours, expected.numpy()) <= 1


@torch.inference_mode()
@each_experiment
def test_the_trained_network_is_left_alone(name: str) -> None:
    net = net_with_biases(name)
    photo = torch.rand(1, 3, 16, 24)
    before = net(photo)
    rewritten = rewrite(net)
    for parameter in rewritten.parameters():
        parameter.zero_()
    for stage, expected in zip(net(photo), before, strict=True):
        assert torch.equal(stage, expected)


def test_the_border_makes_sizes_whole_strides() -> None:
    for height, width in SIZES:
        maps = torch.rand(1, 2, height, width) + 1
        bordered = add_border(maps)
        assert bordered.shape[2] % 8 == 0 and bordered.shape[3] % 8 == 0
        assert torch.equal(crop_border(bordered, height, width), maps)
        ring = bordered.clone()
        ring[:, :, 1:-1, 1:-1] = 0
        assert not ring.any()
        if width > BORDER:
            left, mirrored = bordered[..., 1:BORDER], bordered[..., BORDER + 1 : 2 * BORDER]
            assert torch.equal(left, mirrored.flip(3))
