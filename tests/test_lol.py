"""The released networks on real photos: LOL's test pairs, where the dataset is on the machine."""

from pathlib import Path

import pytest

from retinex import EXPERIMENTS, Enhancer
from retinex.datasets import LOL_TRAINING_FOLDER, match_stems, read_pair
from retinex.evaluation import list_test_pairs
from retinex.metrics import psnr, ssim

ROOT = Path(__file__).parent.parent
PLACES = (ROOT / "data" / "lol", ROOT.parent / "shared" / "data" / "lol")
LOL = next((place for place in PLACES if place.is_dir()), PLACES[0])
pytestmark = pytest.mark.skipif(not LOL.is_dir(), reason="LOL isn't in data/lol")

SOME_PAIRS = slice(0, None, 5)


def test_lol_is_read_whole() -> None:
    assert len(match_stems(LOL, LOL_TRAINING_FOLDER)) == 485
    assert len(list_test_pairs(LOL)) == 15


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_output_is_closer_to_the_reference_than_the_input(experiment: str) -> None:
    enhancer = Enhancer(experiment)
    for low_path, high_path in list_test_pairs(LOL)[SOME_PAIRS]:
        low, high = read_pair(low_path, high_path)
        output = enhancer.enhance(low).output
        assert psnr(output, high) > psnr(low, high) + 3
        assert ssim(output, high) > ssim(low, high)
