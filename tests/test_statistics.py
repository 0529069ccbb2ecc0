import numpy as np
import pytest

from retinex.statistics import estimate_noise, find_flat_areas


def half_plain() -> np.ndarray:
    """A picture whose left half is plain and whose right half is a chessboard."""
    picture = np.full((60, 80, 3), 120, np.uint8)
    rows, columns = np.indices((60, 40))
    picture[:, 40:] += (20 * ((rows // 2 + columns // 2) % 2)).astype(np.uint8)[:, :, None]
    return picture


def test_flat_areas_are_where_nothing_is() -> None:
    flat = find_flat_areas(half_plain())

    assert flat[:, :35].all()
    assert not flat[:, 45:].any()


@pytest.mark.parametrize("deviation", [2, 8])
def test_noise_is_estimated_from_the_pixels_asked_for(deviation: float) -> None:
    rng = np.random.default_rng(0)
    luma = half_plain()[:, :, 0]
    noisy = np.rint(luma + rng.normal(0, deviation, luma.shape)).astype(np.uint8)

    in_plain_areas = estimate_noise(noisy, find_flat_areas(half_plain()))

    assert in_plain_areas == pytest.approx(deviation, rel=0.1)
    assert estimate_noise(noisy) > 1.1 * in_plain_areas
    assert estimate_noise(noisy, np.zeros(noisy.shape, bool)) == 0
