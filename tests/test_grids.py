import numpy as np
from conftest import lively_net

from retinex.experiments import EXPERIMENTS
from retinex.training.grids import run_stages


def test_grids_show_no_pale_border() -> None:
    """As the exported form doesn't, while networks by themselves do."""
    gray = np.full((40, 50, 3), 60, np.uint8)

    reflectance, illumination, *_, output = run_stages(lively_net(EXPERIMENTS["join"]), gray)

    assert [stage.shape for stage in (reflectance, illumination)] == [(40, 50, 3), (40, 50)]
    assert output.shape == gray.shape
    for stage in (reflectance, illumination):
        assert (stage == stage[20, 25]).all()
