"""`results/score_weights.py`, which scores weights on photos that they haven't seen."""

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import scene

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


@pytest.fixture
def score(
    tiny_lol: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., str]:
    """Scores weights with these facts; of photos from elsewhere there is one."""
    torch.manual_seed(0)
    net = build_network(EXPERIMENTS["join_ignore_enhance"])
    score_files = runpy.run_path(str(SCRIPT))["score_files"]
    monkeypatch.setitem(score_files.__globals__, "load_photos", lambda: [scene(0)])

    def score_weights(facts: Facts, jpeg: int | None = None) -> str:
        path = tmp_path / "net.safetensors"
        save_weights(path, net, facts | {"experiment": "join_ignore_enhance"})
        score_files([path], tiny_lol, jpeg)
        return capsys.readouterr().out.splitlines()[1]

    return score_weights


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
        "nothing known": {},
    }[how]


@pytest.mark.parametrize(
    "how",
    [
        "held out others",
        "began with others",
        "another seed, no names",
        "another dataset",
        "nothing known",
    ],
)
def test_weights_that_may_have_seen_the_photos_are_scored_on_others_alone(
    score: Callable[..., str], settings: dict[str, Any], how: str
) -> None:
    line = score(spoil(settings, how))
    assert line.startswith("may have seen them, or")
    assert len(re.findall(r"\d+\.\d\d\b", line)) == 2 * 7, "PSNRs of seven shares of the light"


def test_weights_that_have_not_seen_the_photos_are_scored(
    score: Callable[..., str], settings: dict[str, Any]
) -> None:
    fine: Facts = {"settings": settings}
    without_names = {name: value for name, value in settings.items() if name != "held_out"}
    elsewhere = {"settings": settings | {"data": ["elsewhere"], "seed": 1, "held_out": []}}

    for facts in (
        fine,
        {"settings": without_names},
        fine | {"started_from": [fine, elsewhere]},
    ):
        assert re.match(r"\d+\.\d\d \d+\.\d\d -?\d\.\d{3} \|", score(facts))


def test_dark_photos_can_be_compressed_first(
    score: Callable[..., str], settings: dict[str, Any]
) -> None:
    facts: Facts = {"settings": settings}
    plain, compressed = (score(facts, quality).split(" |") for quality in (None, 30))

    for before, after in zip(plain, compressed, strict=True):  # held out, and from elsewhere
        assert before != after
