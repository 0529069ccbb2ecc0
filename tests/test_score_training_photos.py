"""`results/score_training_photos.py`, which scores weights on photos they were trained on."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import scene
from PIL import Image

from retinex.experiments import EXPERIMENTS
from retinex.metrics import psnr
from retinex.training.build import build_network
from retinex.training.checkpoints import save_weights
from retinex.training.portable import run_in_torch

RESULTS = Path(__file__).parent.parent / "results"


def save_pair(folder: Path, name: str, high: np.ndarray, low: np.ndarray) -> None:
    for kind, photo in (("high", high), ("low", low)):
        file = folder / "our485" / kind / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(file)


def test_photos_are_scored_against_their_own_references_and_their_views(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    view, elsewhere = scene(0), scene(1)
    dimmer = (view * 0.8).astype(np.uint8)
    save_pair(tmp_path, "1", view, view // 8)
    save_pair(tmp_path, "2", dimmer, dimmer // 8)
    save_pair(tmp_path, "3", elsewhere, elsewhere // 8)
    torch.manual_seed(0)
    net = build_network(EXPERIMENTS["join_ignore_enhance"])
    weights = tmp_path / "net.safetensors"
    save_weights(weights, net, {"experiment": "join_ignore_enhance"})
    monkeypatch.syspath_prepend(RESULTS)

    runpy.run_path(str(RESULTS / "score_training_photos.py"))["score_files"]([weights], tmp_path)

    own, other = capsys.readouterr().out.splitlines()[1].split(" | ")
    output = {
        name: run_in_torch(net, dark[None])[-1][0]
        for name, dark in (("view", view // 8), ("elsewhere", elsewhere // 8))
    }
    assert float(other.split()[0]) == pytest.approx(psnr(output["view"], dimmer), abs=5e-3)
    trained = (psnr(output["view"], view), psnr(output["elsewhere"], elsewhere))
    assert float(own.split()[0]) in [pytest.approx(score, abs=5e-3) for score in trained]
