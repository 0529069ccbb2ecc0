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
    run_program(SCRIPT, "--out", out, *files)

    first, second, mean = map(load_file, (*files, out))
    assert all(torch.allclose(mean[name], (first[name] + second[name]) / 2) for name in first)
    facts = load_weights(out)[2]
    assert (facts["seed"], facts["averaged"]) == (2, 2)
    assert facts["started_from"] == [load_weights(files[0])[2]]


def test_each_run_behind_a_mean_is_told_once(tmp_path: Path) -> None:
    first = write_random(tmp_path / "first.safetensors", "join_ignore_enhance", 1)
    net, _, of_first = load_weights(first)
    second, out = tmp_path / "second.safetensors", tmp_path / "mean.safetensors"
    of_second = {"experiment": "join_ignore_enhance", "seed": 2}
    save_weights(second, net, of_second | {"started_from": [of_first]})

    for files in ([first, second], [first, out, second], [second, out]):
        run_program(SCRIPT, "--out", out, *files)
        facts = load_weights(out)[2]
        assert facts == of_second | {"averaged": len(files), "started_from": [of_first]}


def test_one_file_is_no_mean(tmp_path: Path) -> None:
    only = write_random(tmp_path / "1.safetensors", "join_ignore_enhance", 1)
    with pytest.raises(SystemExit):
        run_program(SCRIPT, "--out", tmp_path / "mean.safetensors", only)
    assert not (tmp_path / "mean.safetensors").exists()


def test_nothing_is_overwritten_if_only_what_to_average_is_named(tmp_path: Path) -> None:
    files = [
        write_random(tmp_path / f"{seed}.safetensors", "join_ignore_enhance", seed)
        for seed in (1, 2, 3)
    ]
    before = [file.read_bytes() for file in files]
    with pytest.raises(SystemExit):
        run_program(SCRIPT, *files)
    assert [file.read_bytes() for file in files] == before


def test_other_networks_are_refused(tmp_path: Path) -> None:
    resize = write_random(tmp_path / "a.safetensors", "split_resize", 1)
    transposed = write_random(tmp_path / "b.safetensors", "split_transposed", 1)
    with pytest.raises(SystemExit):
        run_program(SCRIPT, "--out", tmp_path / "mean.safetensors", resize, transposed)
    assert not (tmp_path / "mean.safetensors").exists()
