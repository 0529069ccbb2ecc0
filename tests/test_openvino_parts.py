"""The parts that OpenVINO's provider takes an ONNX file in, run on the CPU."""

import numpy as np
import pytest
from conftest import difference, open_in_parts

from retinex import EXPERIMENTS
from retinex.device import Device, open_model
from retinex.inference import MODELS_FOLDER
from retinex.photo import Pixels
from retinex.thumbnail import make_thumbnail


def draw_photo(height: int, width: int, brightest: int) -> Pixels:
    return np.random.default_rng(0).integers(0, brightest, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_parts_compute_what_the_file_does(experiment: str) -> None:
    file = MODELS_FOLDER / f"{experiment}.onnx"
    whole, parts = open_model(file, Device.CPU).network, open_in_parts(file)
    assert parts.sees_thumbnail == whole.sees_thumbnail
    assert not parts.session.get_overridable_initializers()  # which OpenVINO can't bind
    facts, expected_facts = (
        network.session.get_modelmeta().custom_metadata_map for network in (parts, whole)
    )
    assert facts == expected_facts
    photo = draw_photo(37, 53, 40)
    for stage, expected in zip(parts.run_whole(photo), whole.run_whole(photo), strict=True):
        assert difference(stage, expected) <= 1


def test_a_tile_is_described_by_its_photo() -> None:
    network = open_in_parts(MODELS_FOLDER / "retinex_plus.onnx")
    assert [value.name for value in network.session.get_inputs()] == ["image", "gain", "context"]
    tile = draw_photo(32, 40, 40)

    def brightness_within(photo: Pixels) -> float:
        outputs = network.allocate_outputs(*tile.shape[:2])
        network.run_into(outputs, {"image": tile[None], "thumbnail": make_thumbnail(photo)[None]})
        return float(outputs["output"].mean())

    assert brightness_within(draw_photo(90, 80, 255)) < brightness_within(tile)
