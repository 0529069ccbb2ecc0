"""Fixtures that several test files share."""

import runpy
import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from retinex.device import Device, open_model
from retinex.experiments import EXPERIMENTS, Experiment
from retinex.onnx_network import OnnxNetwork
from retinex.openvino_parts import take_apart
from retinex.photo import Pixels
from retinex.training.build import Network, build_network
from retinex.training.checkpoints import Facts
from retinex.training.onnx_export import export_onnx
from retinex.training.plus_blocks import GatedBlock, Modulation, PlainBlock
from retinex.training.plus_network import PlusNet

FAILED = pytest.StashKey[bool]()
"""Whether a test has failed, for fixtures that come to their end after it."""
DENORMAL = 1e-40
EXPORTED = [name for name in EXPERIMENTS if name != "join"]
"""One experiment of every structure; exporting takes long, and join has that of split_resize."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note whether a test has failed."""
    report = yield
    if call.when == "call":
        item.stash[FAILED] = report.failed
    return report


@dataclass(frozen=True)
class Exported:
    """An ONNX file and what it was made of."""

    net: Network
    experiment: Experiment
    facts: Facts
    file: Path


def run_program(path: Path, *arguments: object) -> None:
    """Run a script in this process, which has PyTorch loaded already."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [path.name, *map(str, arguments)])
        runpy.run_path(str(path), run_name="__main__")


def difference(ours: Pixels, reference: Pixels) -> int:
    """The largest difference of two pictures, in steps of 255."""
    assert ours.shape == reference.shape
    return int(np.abs(ours.astype(int) - reference).max())


def open_in_parts(model: Path | bytes) -> OnnxNetwork:
    """Open an ONNX file as OpenVINO takes it, but both parts on the CPU."""
    describer, pixels = (
        part and open_model(part, Device.CPU).network.session
        for part in take_apart(model, in_bf16=True)
    )
    return OnnxNetwork(pixels, describer)


def lively_net(experiment: Experiment) -> Network:
    """Build a network whose stages vary from pixel to pixel, as those of an untrained one don't."""
    torch.manual_seed(1)
    net = build_network(experiment).eval()
    if isinstance(net, PlusNet):
        torch.nn.init.normal_(net.output_conv.weight, std=0.02)
        for module in net.modules():
            if isinstance(module, PlainBlock | GatedBlock):
                torch.nn.init.normal_(module.last.weight, std=0.02)
            if isinstance(module, GatedBlock):
                torch.nn.init.normal_(module.mix_neighbours.weight, std=0.005)
            if isinstance(module, Modulation):
                torch.nn.init.normal_(module.scale_and_shift.weight, std=0.01)
    elif net.enhance is not None:
        torch.nn.init.kaiming_normal_(net.enhance.output_conv.weight)
        with torch.no_grad():  # neither black nor white, but for the frame
            illumination = net(torch.rand(1, 3, 96, 96)).enhanced_illumination
            net.enhance.output_conv.bias.add_(0.5 - illumination[..., 32:-32, 32:-32].mean())
    return net


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Exported]:
    """Export every structure once, all into one folder; one weight of each is denormal."""
    folder = tmp_path_factory.mktemp("onnx_models")
    models = {}
    for experiment in map(EXPERIMENTS.__getitem__, EXPORTED):
        net = lively_net(experiment)
        # Of a layer that isn't merged with another: in a sum it would be lost.
        conv = net.input_conv if isinstance(net, PlusNet) else net.decom.convs[1]
        with torch.no_grad():
            conv.weight[0, 0, 0, 0] = DENORMAL
        facts: Facts = {"experiment": experiment.name, "licence": "MIT", "settings": {"seed": 1}}
        file = folder / f"{experiment.name}.onnx"
        export_onnx(net, experiment, facts, file)
        models[experiment.name] = Exported(net, experiment, facts, file)
    return models


@pytest.fixture(scope="session")
def tiny_lol(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of LOL's layout: six smooth random pictures of 40×32 pixels, dark and normal."""
    root = tmp_path_factory.mktemp("lol")
    rng = np.random.default_rng(0)
    for name in ("low", "high"):
        (root / "our485" / name).mkdir(parents=True)
    for k in range(6):
        coarse = Image.fromarray(rng.integers(60, 256, (5, 6, 3), dtype=np.uint8))
        high = coarse.resize((40, 32), Image.Resampling.BICUBIC)
        high.save(root / "our485" / "high" / f"{k}.png")
        low = high.point(lambda value: value // 8)
        low.save(root / "our485" / "low" / f"{k}.png")
    return root


def scene(seed: int, height: int = 40, width: int = 48) -> Pixels:
    """A smooth random picture; those of two seeds don't look alike."""
    coarse = np.random.default_rng(seed).integers(40, 216, (7, 7, 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(smooth)
