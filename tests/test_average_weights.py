"""`results/average_weights.py`, which makes released weights of those of several runs."""

import runpy
import sys
from pathlib import Path

import pytest
import torch
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


def average(monkeypatch: pytest.MonkeyPatch, *paths: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["average_weights.py", *map(str, paths)])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def test_the_mean_of_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [
        write_random(tmp_path / f"{seed}.safetensors", "join_ignore_enhance", seed)
        for seed in (1, 2)
    ]
    out = tmp_path / "mean.safetensors"
    average(monkeypatch, out, *files)

    first, second, mean = map(load_file, (*files, out))
    assert all(torch.allclose(mean[name], (first[name] + second[name]) / 2) for name in first)
    facts = load_weights(out)[2]
    assert facts["seed"] == 2
    assert facts["average_of"] == ["1", "2"]


def test_other_networks_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resize = write_random(tmp_path / "a.safetensors", "split_resize", 1)
    transposed = write_random(tmp_path / "b.safetensors", "split_transposed", 1)
    with pytest.raises(SystemExit):
        average(monkeypatch, tmp_path / "mean.safetensors", resize, transposed)
    assert not (tmp_path / "mean.safetensors").exists()
