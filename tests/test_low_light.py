import numpy as np
import pytest
from conftest import difference, scene

from retinex.photo import Pixels
from retinex.training.low_light import (
    CAMERA_GAMMA,
    LowLight,
    compress,
    darken,
    random_low_light,
    random_tints,
    tint,
)


def flat(value: int, side: int = 200) -> Pixels:
    return np.full((side, side, 3), value, np.uint8)


def light_of(photo: Pixels) -> float:
    """Mean of a photo in linear light."""
    return float(((photo / 255.0) ** CAMERA_GAMMA).mean())


@pytest.mark.parametrize("seed", range(5))
def test_random_conditions_make_any_photo_darker(seed: int) -> None:
    rng = np.random.default_rng(seed)
    photo = rng.integers(60, 256, (40, 30, 3), dtype=np.uint8)

    dark = darken(photo, random_low_light(rng), rng)

    assert dark.shape == photo.shape
    assert dark.dtype == np.uint8
    assert 0 < dark.mean() < 0.6 * photo.mean()


@pytest.mark.parametrize("exposure", [0.05, 0.1, 0.3, 1.0])
def test_light_is_proportional_to_exposure(exposure: float) -> None:
    rng = np.random.default_rng(0)
    photo = rng.integers(120, 256, (100, 100, 3), dtype=np.uint8)
    noiseless = LowLight(exposure=exposure, shot_noise=0.0, read_noise=0.0)

    # The tolerance is for rounding to 8 bits.
    assert light_of(darken(photo, noiseless, rng)) == pytest.approx(
        exposure * light_of(photo), rel=0.02
    )


def test_colour_scales_the_light_of_each_channel() -> None:
    light = LowLight(exposure=0.5, colour=(0.5, 1.0, 1.5), shot_noise=0.0, read_noise=0.0)

    dark = darken(flat(200), light, np.random.default_rng(0))

    shares = [light_of(dark[..., k]) / light_of(flat(200)) for k in range(3)]
    assert shares == pytest.approx([0.25, 0.5, 0.75], rel=0.02)


def test_lower_gamma_is_darker() -> None:
    rng = np.random.default_rng(0)
    soft, hard = (LowLight(gamma=gamma, shot_noise=0.0, read_noise=0.0) for gamma in (2.3, 1.9))

    assert darken(flat(150), hard, rng).mean() < darken(flat(150), soft, rng).mean()


def test_full_light_keeps_its_tone_curve() -> None:
    rng = np.random.default_rng(0)
    lights = [random_low_light(rng, brightest=1.0) for _ in range(300)]

    bright = [light.gamma for light in lights if light.exposure > 0.7]
    dark = [light.gamma for light in lights if light.exposure < 0.01]
    assert min(bright) > 2.1
    assert min(dark) < 1.5


def test_a_part_is_tinted_as_within_the_whole() -> None:
    tints = random_tints(np.random.default_rng(1))

    whole = tint(flat(120), tints)
    box = (100 / 50, 30 / 50, 180 / 50, 90 / 50)  # each of 4×4 tints is of 50×50 pixels
    alone = tint(flat(120)[30:90, 100:180], tints, box)

    assert difference(alone, whole[30:90, 100:180]) <= 1
    assert np.ptp(whole[:, :, 0]) > 5, "it differs from place to place"
    assert np.ptp(whole.mean(axis=(0, 1))) > 2, "it is coloured"


@pytest.mark.parametrize("value", [64, 128, 200])
def test_noise_variance_is_shot_times_light_plus_read_squared(value: int) -> None:
    # With gamma 1 the 8-bit result is linear, so the noise can be measured in it.
    light = LowLight(exposure=0.8, gamma=1.0, shot_noise=2e-3, read_noise=0.005)

    dark = darken(flat(value), light, np.random.default_rng(0)) / 255.0

    signal = 0.8 * (value / 255) ** CAMERA_GAMMA
    rounding = 1 / (12 * 255**2)
    assert dark.var() == pytest.approx(2e-3 * signal + 0.005**2 + rounding, rel=0.03)
    assert dark.mean() == pytest.approx(signal, rel=0.02)


def test_noise_of_black_is_the_read_noise() -> None:
    light = LowLight(gamma=1.0, shot_noise=1e-3, read_noise=0.04)

    dark = darken(flat(0), light, np.random.default_rng(0)) / 255.0

    # Clipping at black removes the negative half of a symmetric distribution.
    assert 2 * (dark**2).mean() == pytest.approx(0.04**2, rel=0.03)
    assert (dark == 0).mean() == pytest.approx(0.5, abs=0.03)


def test_same_seed_same_photo() -> None:
    photo = flat(180, side=20)

    def dark(seed: int) -> Pixels:
        rng = np.random.default_rng(seed)
        return darken(photo, random_low_light(rng), rng)

    assert np.array_equal(dark(3), dark(3))
    assert not np.array_equal(dark(3), dark(4))


def test_the_photo_itself_stays_as_it_was() -> None:
    photo = flat(180, side=8)

    darken(photo, LowLight(), np.random.default_rng(0))

    assert (photo == 180).all()


def test_jpeg_keeps_the_better_the_higher_its_quality_and_half_of_the_colours() -> None:
    photo = scene(0, 40, 64)
    stripes = flat(0, 64)
    stripes[:, ::2, 0] = stripes[:, 1::2, 2] = 120

    errors = [np.abs(compress(photo, quality) - photo.astype(float)).mean() for quality in (60, 98)]

    assert 0 < errors[1] < errors[0] < 30
    assert difference(compress(stripes, 98, halve_colours=False), stripes) < 10
    assert difference(compress(stripes, 98), stripes) > 30
