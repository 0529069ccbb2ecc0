"""OpenVINO itself, where it is installed and the processor is one it takes."""

from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest

from retinex import EXPERIMENTS, Device, Enhancement, Enhancer, device
from retinex.device import LARGEST_ROUNDING, OPENVINO_FLOAT32, why_not_openvino
from retinex.experiments import GROUPS
from retinex.inference import CombinedEnhancer
from retinex.openvino_parts import make_convolution
from retinex.photo import Pixels
from retinex.stages import COMPUTED_STAGES

pytestmark = pytest.mark.skipif(bool(why_not_openvino()), reason=why_not_openvino())


@cache
def enhancer(experiment: str, device: Device) -> Enhancer:
    return Enhancer(experiment, device)


def draw_dark_photo(height: int, width: int) -> Pixels:
    """Smooth shapes and some noise, as dark as LOL's photos."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width] / 40
    shapes = 12 + 10 * np.sin(x)[..., None] * np.cos(y[..., None] + np.arange(3))
    return (shapes + rng.normal(0, 1.5, shapes.shape)).clip(0, 255).astype(np.uint8)


def assert_same_pictures(ours: Enhancement, on_the_cpu: Enhancement) -> None:
    assert ours.device is Device.OPENVINO
    for stage in COMPUTED_STAGES:
        difference = np.abs(ours.stages[stage].astype(int) - on_the_cpu.stages[stage])
        assert difference.max() <= LARGEST_ROUNDING, stage
        assert difference.mean() <= 1, stage


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (101, 200)], ids=str)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_pictures_are_those_of_the_cpu(experiment: str, size: tuple[int, int]) -> None:
    photo = draw_dark_photo(*size)
    both = (enhancer(experiment, device).enhance(photo) for device in (Device.OPENVINO, Device.CPU))
    assert_same_pictures(*both)


@pytest.mark.parametrize("experiment", ["retinex_plus", "split_resize"])
def test_tiles_are_those_of_the_cpu(experiment: str) -> None:
    photo = draw_dark_photo(300, 1500)
    both = (enhancer(experiment, device).enhance(photo) for device in (Device.OPENVINO, Device.CPU))
    assert_same_pictures(*both)


def test_experiments_computed_together() -> None:
    (group,) = (group for group in GROUPS if len(group) > 1)
    photo = draw_dark_photo(60, 90)
    together = CombinedEnhancer(group, Device.OPENVINO).enhance(photo)
    for one in together:
        assert_same_pictures(one, enhancer(one.experiment, Device.CPU).enhance(photo))


def test_threads_get_their_own_pictures() -> None:
    photos = [draw_dark_photo(60 + 8 * k, 90) for k in range(4)]
    ours = enhancer("retinex_plus", Device.OPENVINO)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(ours.enhance, photos))
    for photo, result in zip(photos, results, strict=True):
        assert_same_pictures(result, enhancer("retinex_plus", Device.CPU).enhance(photo))


def test_float32_is_float32() -> None:
    session = device._new_openvino_session(make_convolution(), OPENVINO_FLOAT32)
    value = 1 + 2**-9  # between two numbers of bf16
    features = np.full(session.get_inputs()[0].shape, value, np.float32)
    (sums,) = session.run(None, {"features": features})
    assert sums.max() == pytest.approx(64 * 9 * value, abs=0.1)
