import numpy as np
import pytest

from retinex.demo.statistics import HISTOGRAM_BINS, measure


def test_luminance_weighs_red_green_and_blue() -> None:
    for channel, share in enumerate((0.299, 0.587, 0.114)):
        picture = np.zeros((8, 8, 3), np.uint8)
        picture[..., channel] = 255
        assert measure(picture).mean_luminance == pytest.approx(share, abs=0.002)


def test_a_pixel_is_clipped_if_one_of_its_channels_is() -> None:
    picture = np.full((8, 8, 3), 254, np.uint8)
    picture[:2, :, 1] = 255

    assert measure(picture).clipped_share == 0.25


def test_the_histogram_of_two_grays() -> None:
    picture = np.full((8, 8, 3), 200, np.uint8)
    picture[:2] = 7

    expected = np.zeros(HISTOGRAM_BINS)
    expected[7 * HISTOGRAM_BINS // 256], expected[200 * HISTOGRAM_BINS // 256] = 0.25, 0.75
    np.testing.assert_array_equal(measure(picture).histogram, expected)


@pytest.mark.parametrize("deviation", [0, 3, 8])
def test_noise_is_measured_on_a_slope(deviation: float) -> None:
    slope = np.mgrid[0:120, 0:160].sum(axis=0)[:, :, None] / 2 + 50
    noise = np.random.default_rng(0).normal(0, deviation, (120, 160, 1))
    picture = np.rint(slope + noise).clip(0, 255).astype(np.uint8).repeat(3, axis=2)

    assert measure(picture).noise == pytest.approx(deviation, rel=0.1, abs=0.5)
