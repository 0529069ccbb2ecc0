"""The parts that OpenVINO's provider takes an ONNX file in, run on the CPU."""

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import difference, open_in_parts

from retinex import EXPERIMENTS
from retinex.device import Device, open_model
from retinex.inference import MODELS_FOLDER
from retinex.openvino_parts import make_convolution, take_apart
from retinex.photo import Pixels
from retinex.thumbnail import make_thumbnail
from retinex.training.onnx_export import to_half


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


def test_float16_files_stay_as_they_are() -> None:
    half = to_half(onnx.load(MODELS_FOLDER / "split_resize.onnx")).SerializeToString()
    photo = draw_photo(37, 53, 40)
    ours = open_in_parts(half).run_whole(photo)
    for stage, expected in zip(
        ours, open_model(half, Device.CPU).network.run_whole(photo), strict=True
    ):
        assert difference(stage, expected) <= 1


def test_groups_of_channels_stay_together() -> None:
    model = onnx.load_model_from_string(make_convolution())
    rng = np.random.default_rng(0)
    (conv,), (weights,) = model.graph.node, model.graph.initializer
    one_by_one = rng.random((64, 1, 3, 3), np.float32)
    weights.CopyFrom(onnx.numpy_helper.from_array(one_by_one, weights.name))
    conv.attribute.append(onnx.helper.make_attribute("group", 64))
    whole = model.SerializeToString()
    _, in_bf16 = take_apart(whole, in_bf16=True)

    given = {"features": rng.random((1, 64, 96, 96), np.float32)}
    ours, expected = (
        onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, given)[0]
        for file in (in_bf16, whole)
    )
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("experiment", ["split_resize", "split_transposed", "join"])
def test_weights_rounded_to_bf16_change_pictures_less(experiment: str) -> None:
    file = MODELS_FOLDER / f"{experiment}.onnx"
    photo = draw_photo(64, 96, 40)
    expected = open_model(file, Device.CPU).network.run_whole(photo)[-1]

    def change(in_bf16: bool) -> float:
        model = onnx.load_model_from_string(take_apart(file, in_bf16=in_bf16)[1])
        read_by_convs = {node.input[1] for node in model.graph.node if node.op_type == "Conv"}
        for weights in model.graph.initializer:
            if weights.name in read_by_convs:
                rounded = onnx.numpy_helper.to_array(weights).astype(ml_dtypes.bfloat16)
                values = onnx.numpy_helper.from_array(rounded.astype(np.float32), weights.name)
                weights.CopyFrom(values)
        output = open_model(model.SerializeToString(), Device.CPU).network.run_whole(photo)[-1]
        return float(np.abs(output.astype(int) - expected).mean())

    assert change(in_bf16=True) < 0.7 * change(in_bf16=False)
