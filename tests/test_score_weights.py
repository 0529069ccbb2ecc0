"""`results/score_weights.py`, which scores weights on photos that they haven't seen."""

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import run_program

from retinex.experiments import EXPERIMENTS
from retinex.training.build import build_network
from retinex.training.checkpoints import Facts, save_weights
from retinex.training.pairs import load_pairs
from retinex.training.scenes import names_of, split_by_scene

SCRIPT = Path(__file__).parent.parent / "results" / "score_weights.py"


@pytest.fixture
def settings(tiny_lol: Path) -> dict[str, Any]:
    """Those of a run on the dataset, as train.py stores them."""
    pairs = load_pairs([tiny_lol])
    _, held_out = split_by_scene(pairs, 0.05, seed=0)
    return {
        **{"data": [tiny_lol.name], "photos": [], "val_share": 0.05, "seed": 0},
        **{"pairs": len(pairs), "held_out": names_of(held_out, [tiny_lol])},
    }


def spoil(settings: dict[str, Any], how: str) -> Facts:
    """The facts of weights that have seen what scores are taken on, or that don't tell."""
    fine: Facts = {"settings": settings}
    without_names = {name: value for name, value in settings.items() if name != "held_out"}
    other = {"settings": settings | {"held_out": ["others"]}}
    return {
        "held out others": other,
        "began with others": fine | {"started_from": [other]},
        "another seed, no names": {"settings": without_names | {"seed": 1}},
        "another dataset": {"settings": settings | {"data": ["elsewhere"]}},
    }[how]


@pytest.mark.parametrize(
    "how",
    [
        "held out others",
        "began with others",
        "another seed, no names",
        "another dataset",
    ],
)
def test_weights_that_may_have_seen_the_photos_are_not_scored(
    settings: dict[str, Any],
    how: str,
    tiny_lol: Path,
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    net = build_network(EXPERIMENTS["join_ignore_enhance"])
    facts = spoil(settings, how) | {"experiment": "join_ignore_enhance"}
    save_weights(tmp_path / "net.safetensors", net, facts)

    with pytest.raises(SystemExit, match=r"net\.safetensors.*may have seen"):
        run_program(SCRIPT, tmp_path / "net.safetensors", "--data", tiny_lol)


def test_weights_that_have_not_seen_the_photos_are_scored(settings: dict[str, Any]) -> None:
    fine: Facts = {"settings": settings}
    without_names = {name: value for name, value in settings.items() if name != "held_out"}
    elsewhere = {"settings": settings | {"data": ["elsewhere"], "seed": 1, "held_out": []}}
    check_held_out = runpy.run_path(str(SCRIPT))["check_held_out"]

    for facts in (
        fine,
        {"settings": without_names},
        fine | {"started_from": [fine, elsewhere]},
    ):
        check_held_out(Path("net.safetensors"), facts, settings["data"][0], settings)
