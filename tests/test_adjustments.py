"""What the sliders of an enhanced photo do, on stages made by hand and on the real networks'."""

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import retinex
from retinex import Adjustments, Device, Enhancement, Photo, Stage, adjust
from retinex.adjustments import BRIGHT, SHOULDER, denoise_reflectance
from retinex.photo import BLOCK_ROWS, Pixels

CAT = Path(__file__).parent.parent / "examples" / "cat.jpg"


def to_pixels(values: np.ndarray) -> Pixels:
    return np.rint(values).clip(0, 255).astype(np.uint8)


def make_enhancement(reflectance: Pixels, illumination: Pixels, enhanced: Pixels) -> Enhancement:
    """Build the stages as the networks do: input = R · I, output = R · Î."""
    stages = {
        Stage.INPUT: to_pixels(reflectance * (illumination[:, :, None] / 255)),
        Stage.REFLECTANCE: reflectance,
        Stage.ILLUMINATION: illumination,
        Stage.ENHANCED_ILLUMINATION: enhanced,
        Stage.OUTPUT: to_pixels(reflectance * (enhanced[:, :, None] / 255)),
    }
    photo = Photo(stages[Stage.INPUT])
    return Enhancement("split_resize", photo, stages, Device.CPU, "", 0.0)


def make_random(height: int, width: int, seed: int = 0) -> Enhancement:
    rng = np.random.default_rng(seed)
    return make_enhancement(
        rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
        rng.integers(0, 256, (height, width), dtype=np.uint8),
        rng.integers(0, 256, (height, width), dtype=np.uint8),
    )


def make_daylight(height: int = 120, width: int = 160) -> Pixels:
    """Paint a bright scene with thin dark lines on it, as letters on a sign."""
    scene = np.empty((height, width, 3), np.uint8)
    scene[:] = np.linspace(140, 240, width)[:, None]
    scene[: height // 2] = scene[: height // 2] * np.array([0.7, 0.85, 1])
    scene[20:100:10, 30:130] = 25
    return scene


def with_white_output(rgb: Pixels) -> Enhancement:
    white = np.full(rgb.shape, 250, np.uint8)
    enhancement = make_enhancement(white, rgb.max(axis=2), white[:, :, 0])
    enhancement.stages[Stage.INPUT] = rgb
    enhancement.stages[Stage.OUTPUT] = white
    return enhancement


def hue_shares(rgb: Pixels) -> np.ndarray:
    """Return each channel's share of a pixel's light, (h, w, 3): the same for the same colour."""
    values = rgb.astype(float)
    return values / np.maximum(values.sum(axis=2, keepdims=True), 1)


def test_strength_zero_is_the_input_whatever_the_rest() -> None:
    enhancement = make_random(40, 50)
    changes = Adjustments(strength=0, highlight_protection=0.3, denoise=1, exposure=1)
    assert np.array_equal(adjust(enhancement, changes), enhancement.stages[Stage.INPUT])


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (1, 9), (9, 1), (37, 53), (BLOCK_ROWS + 1, 3)]
)
def test_every_size(height: int, width: int) -> None:
    enhancement = make_random(height, width)
    before = {stage: image.copy() for stage, image in enhancement.stages.items()}
    for exposure in (-5, 5):
        result = adjust(enhancement, Adjustments(0.5, 0.5, 0.5, exposure))
        assert result.shape == (height, width, 3)
        assert result.dtype == np.uint8
    for stage, image in enhancement.stages.items():
        assert np.array_equal(image, before[stage]), f"{stage} was changed"


@pytest.mark.parametrize("name", ["strength", "highlight_protection", "denoise", "exposure"])
@pytest.mark.parametrize("value", [-5.1, 5.1, float("nan")])
def test_out_of_range_names_the_range(name: str, value: float) -> None:
    expected = "from -5 to 5" if name == "exposure" else "from 0 to 1"
    with pytest.raises(ValueError, match=f"{name} must be {expected}"):
        Adjustments(**{name: value})


def test_denoise_strength_out_of_range() -> None:
    stages = make_random(4, 4).stages
    with pytest.raises(ValueError, match="strength must be from 0 to 1"):
        denoise_reflectance(stages[Stage.REFLECTANCE], stages[Stage.ILLUMINATION], 1.5)


@pytest.mark.parametrize("stops", [2.0, 1.0, -2.0, -5.0])
def test_exposure_multiplies_light_and_keeps_hue(stops: float) -> None:
    enhancement = make_random(60, 80)
    output = enhancement.output
    result = adjust(enhancement, Adjustments(exposure=stops))
    expected = 255 * ((output / 255.0) ** 2.2 * 2.0**stops) ** (1 / 2.2)
    unclipped = expected.max(axis=2) <= SHOULDER * 255
    assert unclipped.any()
    assert np.abs(result - expected)[unclipped].max() <= 0.5
    bright = (output.min(axis=2) > 20) & (result.min(axis=2) > 20)
    assert bright.any() or stops < -4
    difference = np.abs(hue_shares(result)[bright] - hue_shares(output)[bright])
    assert difference.size == 0 or difference.max() < 0.02


def test_more_exposure_never_darkens_and_never_clips_colours_away() -> None:
    ramp = np.arange(256, dtype=np.uint8)[None, :, None] * np.array([1, 0.5, 0.25])
    full = np.full((1, 256), 255, np.uint8)
    enhancement = make_enhancement(to_pixels(ramp), full, full)
    results = [
        adjust(enhancement, Adjustments(exposure=stops)).astype(int)
        for stops in np.arange(-5, 5.01, 0.25)
    ]
    for darker, brighter in pairwise(results):
        assert (brighter >= darker).all()
    for result in results:
        assert (np.diff(result[0, :, 0]) >= 0).all(), "a brighter pixel came out darker"
        assert result[0, -1, 0] > 1.9 * result[0, -1, 1] > 3.5 * result[0, -1, 2]
    # A touch of exposure is a touch of change, at white too.
    touch = adjust(enhancement, Adjustments(exposure=0.01)).astype(int)
    assert np.abs(touch - enhancement.output).max() <= 2


def test_denoise_smooths_the_dark_and_leaves_the_bright() -> None:
    rng = np.random.default_rng(0)
    flat = np.full((120, 160, 3), (150, 120, 90))
    noisy = to_pixels(flat + rng.normal(0, 10, flat.shape))
    illumination = np.full((120, 160), 10, np.uint8)
    illumination[:, 80:] = BRIGHT
    deviations = [
        denoise_reflectance(noisy, illumination, strength)[:, :70].astype(float).std(axis=(0, 1))
        for strength in (0, 0.25, 0.5, 1)
    ]
    for more, less in pairwise(deviations):
        assert (less < more).all()
    assert (deviations[-1] < 0.35 * deviations[0]).all()
    denoised = denoise_reflectance(noisy, illumination, 1)
    assert np.array_equal(denoised[:, 80:], noisy[:, 80:])
    assert np.abs(denoised[:, :70].mean(axis=(0, 1)) - noisy[:, :70].mean(axis=(0, 1))).max() < 3
    assert np.array_equal(denoise_reflectance(noisy, illumination, 0), noisy)


def test_denoise_smooths_more_where_it_is_darker() -> None:
    rng = np.random.default_rng(0)
    noisy = to_pixels(rng.normal(128, 15, (64, 64, 3)))
    left = [
        denoise_reflectance(noisy, np.full((64, 64), light, np.uint8), 1).astype(float).std()
        for light in (5, 20, 50, 100, 127)
    ]
    assert left == sorted(left)


def test_denoise_keeps_an_edge_sharp() -> None:
    rng = np.random.default_rng(0)
    scene = np.full((80, 120, 3), 60)
    scene[:, 60:] = 200
    noisy = to_pixels(scene + rng.normal(0, 12, scene.shape))
    denoised = denoise_reflectance(noisy, np.full((80, 120), 12, np.uint8), 1).astype(float)
    profile = denoised.mean(axis=(0, 2))
    assert profile[60] - profile[59] > 0.7 * 140
    assert denoised[:, :50].std() < 6


def test_denoise_in_blocks_is_that_of_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    stages = make_random(150, 40).stages
    illumination = to_pixels(stages[Stage.ILLUMINATION] / 4.0)
    blocks = []
    for rows in (1000, 32):
        monkeypatch.setattr("retinex.photo.BLOCK_ROWS", rows)
        blocks.append(denoise_reflectance(stages[Stage.REFLECTANCE], illumination, 1).astype(int))
    assert np.abs(blocks[0] - blocks[1]).max() <= 1


def test_denoised_output_is_denoised_reflectance_in_enhanced_light() -> None:
    enhancement = make_random(60, 80)
    stages = enhancement.stages
    denoised = denoise_reflectance(stages[Stage.REFLECTANCE], stages[Stage.ILLUMINATION], 0.8)
    expected = denoised * (stages[Stage.ENHANCED_ILLUMINATION][:, :, None] / 255)
    result = adjust(enhancement, Adjustments(denoise=0.8))
    assert np.abs(result - expected).max() <= 1.01


def test_highlight_protection_keeps_daylight() -> None:
    daylight = make_daylight()
    errors = [
        np.abs(
            adjust(with_white_output(daylight), Adjustments(highlight_protection=amount)).astype(
                int
            )
            - daylight
        ).mean()
        for amount in (0, 0.25, 0.5, 0.75, 1)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 50
    assert errors[-1] < 1.5


@pytest.mark.parametrize("size", [(160, 240), (1100, 1500)])
def test_highlight_protection_leaves_the_dark_untouched(size: tuple[int, int]) -> None:
    """A room with a bright window: the window stays as it is, the room gets all the light."""
    height, width = size
    room = np.full((height, width, 3), 20, np.uint8)
    window = np.s_[height // 4 : height // 2, width // 3 : width // 2]
    room[window] = (200, 220, 240)
    enhancement = with_white_output(room)
    result = adjust(enhancement, Adjustments(highlight_protection=1))
    assert np.array_equal(result[window], room[window])
    outside = np.ones((height, width), bool)
    outside[window] = False
    assert np.array_equal(result[outside], enhancement.output[outside])


def test_strength_interpolates_light_and_keeps_hue() -> None:
    enhancement = make_random(60, 80)
    rgb = enhancement.stages[Stage.INPUT].astype(float)
    output = enhancement.output
    for strength in (0.1, 0.5, 0.9):
        result = adjust(enhancement, Adjustments(strength=strength))
        light = rgb.sum(axis=2) * (1 - strength) + output.sum(axis=2) * strength
        assert np.abs(result.sum(axis=2) - light).max() <= 1.51
        lit = (result.min(axis=2) > 15) & (output.min(axis=2) > 15)
        assert np.abs(hue_shares(result)[lit] - hue_shares(output)[lit]).max() < 0.03


def test_strength_on_black() -> None:
    black = np.zeros((8, 8, 3), np.uint8)
    enhancement = make_enhancement(black, black[:, :, 0], black[:, :, 0])
    assert not adjust(enhancement, Adjustments(0.5, 0.5, 0.5, 2)).any()
    # Black that was lifted to a colour takes on that colour at once.
    enhancement.stages[Stage.OUTPUT] = np.full((8, 8, 3), (200, 100, 50), np.uint8)
    result = adjust(enhancement, Adjustments(strength=0.5))
    assert (result == (100, 50, 25)).all()


def test_with_the_real_networks() -> None:
    with Image.open(CAT) as image:
        cat = np.asarray(image.convert("RGB"))[100:196, 150:278]
    enhancement = retinex.enhance(cat)
    assert np.array_equal(adjust(enhancement, Adjustments()), enhancement.output)
    half = adjust(enhancement, Adjustments(strength=0.5))
    brighter = adjust(enhancement, Adjustments(exposure=1))
    assert half.mean() == pytest.approx((cat.mean() + enhancement.output.mean()) / 2, abs=0.5)
    assert brighter.mean() > 1.2 * enhancement.output.mean()
    protected = adjust(enhancement, Adjustments(highlight_protection=1))
    dark = cat.max(axis=2) < 25
    assert dark.any()
    assert np.array_equal(protected[dark], enhancement.output[dark])
    smooth = adjust(enhancement, Adjustments(denoise=1))
    assert roughness(smooth) < roughness(enhancement.output)


def roughness(rgb: Pixels) -> float:
    return float(np.abs(cv2.Laplacian(rgb, cv2.CV_32F)).mean())
