from functools import partial
from pathlib import Path

import pytest
import torch
from conftest import lively_net
from torch import Tensor
from torch.nn import functional

from retinex.experiments import EXPERIMENTS, Experiment, Upsampling
from retinex.training.build import Network, build_network
from retinex.training.checkpoints import load_weights, save_weights
from retinex.training.networks import (
    STRIDE,
    EnhanceNet,
    TransposedUp,
    crop_to,
    repeat_pixels,
)
from retinex.training.onnx_export import receptive_radius
from retinex.training.plus_network import PlusNet

SIZES = [(1, 1), (1, 7), (2, 2), (7, 5), (8, 8), (33, 47), (97, 97), (16, 1)]
WITHOUT_ENHANCE_NET = [e for e in EXPERIMENTS.values() if e.ignore_enhance]

each_experiment = pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=EXPERIMENTS)


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


@each_experiment
def test_every_size_is_kept(experiment: Experiment) -> None:
    net = lively_net(experiment)
    for height, width in SIZES:
        stages = net(torch.rand(2, 3, height, width))

        assert stages.reflectance.shape == (2, 3, height, width)
        assert stages.illumination.shape == (2, 1, height, width)
        assert stages.enhanced_illumination.shape == (2, 1, height, width)
        assert stages.output.shape == (2, 3, height, width)


@each_experiment
def test_ranges_and_product_of_the_stages(experiment: Experiment) -> None:
    stages = lively_net(experiment)(torch.rand(2, 3, 33, 47))

    assert 0 <= stages.illumination.min() < stages.illumination.max() <= 1
    assert 0 <= stages.reflectance.min() < stages.reflectance.max() <= 1
    assert torch.equal(stages.output, stages.reflectance * stages.enhanced_illumination)


@each_experiment
def test_images_of_a_batch_do_not_mix(experiment: Experiment) -> None:
    net, photos = lively_net(experiment), torch.rand(2, 3, 21, 18)

    together, alone = net(photos).output[1:], net(photos[1:]).output

    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@each_experiment
def test_saved_and_loaded_weights_enhance_identically(
    experiment: Experiment, tmp_path: Path
) -> None:
    net, photo = lively_net(experiment), torch.rand(1, 3, 19, 23)
    facts = {"experiment": experiment.name, "licence": "MIT"}
    save_weights(tmp_path / "weights.safetensors", net, facts)

    loaded, loaded_experiment, loaded_facts = load_weights(tmp_path / "weights.safetensors")

    assert (loaded_experiment, loaded_facts) == (experiment, facts)
    assert not loaded.training
    for stage, expected in zip(loaded(photo), net(photo), strict=True):
        assert torch.equal(stage, expected)


@pytest.mark.parametrize("experiment", WITHOUT_ENHANCE_NET, ids=lambda e: e.name)
def test_ignored_enhance_net_does_not_exist(experiment: Experiment) -> None:
    net = lively_net(experiment)
    stages = net(torch.rand(1, 3, 9, 6))

    assert torch.equal(stages.enhanced_illumination, torch.ones(1, 1, 9, 6))
    assert torch.equal(stages.output, stages.reflectance)
    assert all(name.startswith("decom.") for name, _ in net.named_parameters())


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("size", [1, 5, 8, 13, 97])
def test_upsampled_pixel_i_reads_pixel_i_over_scale(scale: int, size: int) -> None:
    coarse = -(-size // scale)
    ramp = torch.arange(coarse, dtype=torch.float32)
    features = (100 * ramp[:, None] + ramp)[None, None]

    grown = crop_to(repeat_pixels(features, scale), torch.empty(1, 1, size, size))

    expected = [[100 * (y // scale) + x // scale for x in range(size)] for y in range(size)]
    assert grown[0, 0].tolist() == expected


def test_transposed_enhance_net_equals_one_without_output_padding() -> None:
    # 97 → 49 → 25 → 13 going down; 2n − 1 leads back exactly, so nothing needs a crop.
    net = EnhanceNet(Upsampling.TRANSPOSED)
    decomposition = lively_net(EXPERIMENTS["split_transposed"]).decom(torch.rand(1, 3, 97, 97))

    enhanced = net(decomposition)

    torch.testing.assert_close(enhanced, plain_transposed_enhance(net, *decomposition))


def plain_transposed_enhance(net: EnhanceNet, reflectance: Tensor, illumination: Tensor) -> Tensor:
    """Enhance-Net as the paper draws it, at sizes 8n + 1, with the weights of `net`."""

    def grow(step: int, features: Tensor) -> Tensor:
        block = net.up[step]
        assert isinstance(block, TransposedUp)
        weight, bias = block.conv.weight, block.conv.bias
        grown = functional.conv_transpose2d(
            features, weight, bias, stride=2, padding=1, output_padding=0
        )
        return functional.relu(grown)

    full = net.input_conv(torch.cat([reflectance, illumination], dim=1))
    half = net.down[0](full).relu()
    quarter = net.down[1](half).relu()
    eighth = net.down[2](quarter).relu()
    up_quarter = grow(0, eighth) + quarter
    up_half = grow(1, up_quarter) + half
    up_full = grow(2, up_half) + full
    size = full.shape[2]
    nearest = [
        features[:, :, torch.arange(size) // scale][..., torch.arange(size) // scale]
        for features, scale in ((up_quarter, 4), (up_half, 2))
    ]
    return net.output_conv(net.fuse(torch.cat([*nearest, up_full], dim=1)))


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name != "join"])
def test_receptive_radius_is_how_far_a_change_spreads(name: str) -> None:
    experiment = EXPERIMENTS[name]
    net = unblocked_net(experiment)
    if isinstance(net, PlusNet):  # which sees the whole photo by its thumbnail
        net = partial(net, thumbnail=torch.rand(1, 3, 64, 64, dtype=torch.float64))
    radius = receptive_radius(build_network(experiment))
    middle = (radius // STRIDE + 1) * STRIDE
    for axis, shape in ((2, (1, 3, 2 * middle, 5)), (3, (1, 3, 5, 2 * middle))):
        photo = torch.rand(shape, dtype=torch.float64)
        before = net(photo)
        furthest = 0
        for position in range(middle, middle + STRIDE):
            changed = photo.clone()
            changed.select(axis, position)[:, :, 2] += 1
            for stage, stage_before in zip(net(changed), before, strict=True):
                where = (stage != stage_before).movedim(axis, 0).flatten(1).any(1).nonzero()
                furthest = max([furthest, *(where - position).abs().flatten().tolist()])

        # Through many layers the furthest change gets too small even for float64.
        assert radius - STRIDE < furthest <= radius


def unblocked_net(experiment: Experiment) -> Network:
    """A network through which changes reach as far as they can.

    float64, because a change shrinks by about 3 with each of some twenty convolutions.
    """
    torch.manual_seed(2)
    net = build_network(experiment).double().eval()
    for parameter in net.parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 100
        if not isinstance(net, PlusNet):  # positive weights keep each ReLU open
            parameter.uniform_(0.5 / fan_in, 1.5 / fan_in)
        elif parameter.ndim > 1:  # positive ones would be all alike to its norms
            parameter.normal_(std=fan_in**-0.5)
    return net
