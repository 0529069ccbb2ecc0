"""`results/score_training_photos.py`, which scores weights on photos they were trained on."""

import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import difference, scene
from PIL import Image

from retinex.datasets import DatasetError
from retinex.experiments import EXPERIMENTS
from retinex.metrics import psnr, psnr_gt_mean, ssim
from retinex.photo import Pixels
from retinex.training.build import build_network
from retinex.training.checkpoints import save_weights
from retinex.training.portable import run_in_torch

RESULTS = Path(__file__).parent.parent / "results"
VIEW, ELSEWHERE = scene(0), scene(1)
DIMMER = VIEW // 5 * 4
EXPERIMENT = EXPERIMENTS["join_ignore_enhance"]


def save_pairs(folder: Path, *photos: Pixels) -> None:
    """Write photos and, an eighth as bright, their dark ones as LOL's training pairs."""
    for kind, divisor in (("high", 1), ("low", 8)):
        (folder / "our485" / kind).mkdir(parents=True)
        for number, photo in enumerate(photos):
            Image.fromarray(photo // divisor).save(folder / "our485" / kind / f"{number}.png")


@pytest.fixture
def score_files(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The script's main function; all scenes are trained on."""
    monkeypatch.syspath_prepend(RESULTS)
    function = runpy.run_path(str(RESULTS / "score_training_photos.py"))["score_files"]
    monkeypatch.setitem(
        function.__globals__, "split_by_scene", lambda pairs, share, seed: (pairs, [])
    )
    return function


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Weights of a network as it begins."""
    torch.manual_seed(0)
    path = tmp_path / "net.safetensors"
    save_weights(path, build_network(EXPERIMENT), {"experiment": EXPERIMENT.name})
    return path


@pytest.mark.parametrize("quality", [None, 60])
def test_photos_are_scored_against_their_own_references_and_their_views(
    score_files: Callable[..., None],
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    quality: int | None,
) -> None:
    save_pairs(tmp_path / "lol", VIEW, DIMMER, ELSEWHERE)
    low = VIEW // 8
    if quality is not None:
        Image.fromarray(low).save(tmp_path / "low.jpg", quality=quality)
        low = np.asarray(Image.open(tmp_path / "low.jpg"))
        assert difference(low, VIEW // 8) > 0

    score_files([weights], tmp_path / "lol", quality)

    torch.manual_seed(0)
    (output,) = run_in_torch(build_network(EXPERIMENT), low[None])[-1]
    printed = capsys.readouterr().out.splitlines()[1].removesuffix(f" {weights}")
    for scores, reference in zip(printed.split(" | "), (VIEW, DIMMER), strict=True):
        expected = [measure(output, reference) for measure in (psnr, psnr_gt_mean, ssim)]
        assert [float(number) for number in scores.split()] == pytest.approx(expected, abs=6e-3)


def test_dataset_without_a_view_in_other_light_is_refused(
    score_files: Callable[..., None], weights: Path, tmp_path: Path
) -> None:
    save_pairs(tmp_path / "lol", VIEW, ELSEWHERE)
    with pytest.raises(DatasetError, match="no view in other light"):
        score_files([weights], tmp_path / "lol")
