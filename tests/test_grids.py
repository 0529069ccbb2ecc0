from pathlib import Path

import numpy as np
from conftest import lively_net

from retinex.experiments import EXPERIMENTS
from retinex.thumbnail import make_thumbnail
from retinex.training.checkpoints import load_weights
from retinex.training.grids import run_stages

CHECKPOINT = Path(__file__).parent.parent / "checkpoints" / "retinex_plus.safetensors"


def test_grids_show_no_pale_border() -> None:
    """As the exported form doesn't, while networks by themselves do."""
    gray = np.full((40, 50, 3), 60, np.uint8)

    reflectance, illumination, *_, output = run_stages(
        lively_net(EXPERIMENTS["join"]), gray, make_thumbnail(gray)
    )

    assert [stage.shape for stage in (reflectance, illumination)] == [(40, 50, 3), (40, 50)]
    assert output.shape == gray.shape
    for stage in (reflectance, illumination):
        assert (stage == stage[20, 25]).all()


def test_parts_of_photos_are_as_bright_as_in_the_whole() -> None:
    bright, dark = (np.full((64, 64, 3), value, np.uint8) for value in (230, 40))
    net, *_ = load_weights(CHECKPOINT)

    alone, in_bright = (
        run_stages(net, dark, make_thumbnail(whole))[-1].mean() for whole in (dark, bright)
    )

    assert alone > 1.5 * in_bright
