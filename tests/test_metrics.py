import numpy as np
import pytest

from retinex.metrics import measure_flat_noise


def half_plain() -> np.ndarray:
    """A picture whose left half is plain and whose right half is a chessboard."""
    picture = np.full((60, 80, 3), 120, np.uint8)
    rows, columns = np.indices((60, 40))
    picture[:, 40:] += (20 * ((rows // 2 + columns // 2) % 2)).astype(np.uint8)[:, :, None]
    return picture


@pytest.mark.parametrize("deviation", [0, 2, 8])
def test_noise_is_measured_where_the_reference_is_plain(deviation: float) -> None:
    rng = np.random.default_rng(0)
    gray_noise = rng.normal(0, deviation, (60, 80, 1))
    noisy = np.rint(half_plain() + gray_noise).clip(0, 255).astype(np.uint8)
    noisy[:, 45:] = rng.integers(0, 256, (60, 35, 3))  # where the reference isn't

    of_noisy, of_reference = measure_flat_noise(noisy, half_plain())
    assert of_noisy == pytest.approx(deviation, rel=0.1, abs=1e-3)
    assert of_reference == pytest.approx(0, abs=1e-3)


def test_no_noise_is_measured_where_nothing_is_plain() -> None:
    assert measure_flat_noise(half_plain(), half_plain()[:, 50:].repeat(3, axis=1)[:, :80]) is None
