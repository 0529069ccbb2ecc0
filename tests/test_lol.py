"""The released networks on real photos: LOL's test pairs, where the dataset is on the machine."""

import csv
from pathlib import Path

import numpy as np
import pytest

from retinex import EXPERIMENTS, Device, Enhancer, device
from retinex.datasets import LOL_TEST_FOLDER, LOL_TRAINING_FOLDER, match_stems, read_pair
from retinex.device import why_not_openvino
from retinex.metrics import psnr, ssim

ROOT = Path(__file__).parent.parent
# Or in a folder beside the clone, which several clones may share.
PLACES = [ROOT / "data" / "lol", *sorted(ROOT.parent.glob("*/data/lol"))]
LOL = next((place for place in PLACES if place.is_dir()), PLACES[0])
pytestmark = pytest.mark.skipif(not LOL.is_dir(), reason="LOL isn't in data/lol")

SOME_PAIRS = slice(0, None, 5)


def test_lol_is_read_whole() -> None:
    assert len(match_stems(LOL, LOL_TRAINING_FOLDER)) == 485
    assert len(match_stems(LOL, LOL_TEST_FOLDER)) == 15


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_released_files_have_the_scores_that_are_published(experiment: str) -> None:
    with (ROOT / "results" / "results.csv").open(newline="") as file:
        published = {
            row["image"]: row for row in csv.DictReader(file) if row["experiment"] == experiment
        }
    enhancer = Enhancer(experiment, "cpu")
    for low_path, high_path in match_stems(LOL, LOL_TEST_FOLDER)[SOME_PAIRS]:
        low, high = read_pair(low_path, high_path)
        output = enhancer.enhance(low).output
        row = published[low_path.stem]
        assert psnr(output, high) == pytest.approx(float(row["psnr"]), abs=0.05)
        assert ssim(output, high) == pytest.approx(float(row["ssim"]), abs=0.002)
        assert psnr(output, high) > psnr(low, high) + 3


@pytest.mark.skipif(bool(why_not_openvino()), reason=why_not_openvino())
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_bf16_changes_outputs_by_two_steps_at_most(
    experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "_find_openvino_options", dict)  # bf16 where there is any
    in_bf16 = Enhancer(experiment, Device.OPENVINO)
    in_float32 = Enhancer(experiment, Device.CPU)
    for low_path, high_path in match_stems(LOL, LOL_TEST_FOLDER)[SOME_PAIRS]:
        low, _ = read_pair(low_path, high_path)
        ours, expected = in_bf16.enhance(low).output, in_float32.enhance(low).output
        assert np.abs(ours.astype(int) - expected).max() <= 2
