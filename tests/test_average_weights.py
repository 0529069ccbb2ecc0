"""`results/average_weights.py`, which makes released weights of those of several runs."""

from pathlib import Path

import pytest
import torch
from conftest import run_program
from safetensors.torch import load_file

from retinex.experiments import EXPERIMENTS
from retinex.training.build import build_network
from retinex.training.checkpoints import load_weights, save_weights

SCRIPT = Path(__file__).parent.parent / "results" / "average_weights.py"


def write_random(path: Path, experiment: str, seed: int) -> Path:
    torch.manual_seed(seed)
    net = build_network(EXPERIMENTS[experiment])
    save_weights(path, net, {"experiment": experiment, "seed": seed})
    return path


def test_the_mean_of_two(tmp_path: Path) -> None:
    files = [
        write_random(tmp_path / f"{seed}.safetensors", "join_ignore_enhance", seed)
        for seed in (1, 2)
    ]
    out = tmp_path / "mean.safetensors"
    run_program(SCRIPT, out, *files)

    first, second, mean = map(load_file, (*files, out))
    assert all(torch.allclose(mean[name], (first[name] + second[name]) / 2) for name in first)
    facts = load_weights(out)[2]
    assert facts["seed"] == 2
    assert facts["average_of"] == [load_weights(file)[2] for file in files]


def test_brightening_brightens_the_enhanced_illumination_alone(tmp_path: Path) -> None:
    weights = write_random(tmp_path / "a.safetensors", "retinex_plus", 1)
    run_program(SCRIPT, tmp_path / "brighter.safetensors", weights, "--brighten", "0.1")

    nets = [load_weights(tmp_path / f"{name}.safetensors")[0] for name in ("a", "brighter")]
    with torch.inference_mode():
        before, after = (net(torch.full((1, 3, 16, 16), 0.1)) for net in nets)
    torch.testing.assert_close(after.reflectance, before.reflectance)
    torch.testing.assert_close(after.illumination, before.illumination)
    # Where R isn't white: there Î is as the sigmoid gave it.
    inside = before.reflectance.amax(dim=1, keepdim=True) < 1
    assert inside.float().mean() > 0.9
    logits = [stages.enhanced_illumination[inside].logit() for stages in (before, after)]
    torch.testing.assert_close(logits[1] - logits[0], torch.full_like(logits[0], 0.1))


def test_only_plus_can_be_brightened(tmp_path: Path) -> None:
    weights = write_random(tmp_path / "a.safetensors", "join_ignore_enhance", 1)
    with pytest.raises(SystemExit):
        run_program(SCRIPT, tmp_path / "brighter.safetensors", weights, "--brighten", "0.1")


def test_one_file_is_no_mean(tmp_path: Path) -> None:
    """The first file is the one to write: naming only what to average would cost it."""
    first, second = (
        write_random(tmp_path / f"{seed}.safetensors", "join_ignore_enhance", seed)
        for seed in (1, 2)
    )
    before = first.read_bytes()
    with pytest.raises(SystemExit):
        run_program(SCRIPT, first, second)
    assert first.read_bytes() == before


def test_other_networks_are_refused(tmp_path: Path) -> None:
    resize = write_random(tmp_path / "a.safetensors", "split_resize", 1)
    transposed = write_random(tmp_path / "b.safetensors", "split_transposed", 1)
    with pytest.raises(SystemExit):
        run_program(SCRIPT, tmp_path / "mean.safetensors", resize, transposed)
    assert not (tmp_path / "mean.safetensors").exists()
