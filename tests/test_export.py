import copy
import json
import re
import runpy
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import DENORMAL, EXPORTED, Exported, difference, run_program

import retinex
import retinex.inference
from retinex.experiments import EXPERIMENTS, Mode
from retinex.photo import Pixels
from retinex.thumbnail import make_thumbnail
from retinex.training import portable
from retinex.training.build import Network
from retinex.training.checkpoints import load_weights, save_weights
from retinex.training.onnx_export import (
    largest_activation,
    metadata,
    to_half,
)
from retinex.training.portable import build_portable, from_bytes, run_in_torch, run_portable
from retinex.training.rewrites import rewrite

REPOSITORY = Path(__file__).parent.parent
SCRIPT = REPOSITORY / "export_onnx.py"
OUTPUTS = {"reflectance": 3, "illumination": 1, "enhanced_illumination": 1, "output": 3}

each_structure = pytest.mark.parametrize("name", EXPORTED)


def noise(*shape: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


@each_structure
def test_onnxruntime_computes_what_pytorch_does(exported: dict[str, Exported], name: str) -> None:
    model = exported[name]
    session = onnxruntime.InferenceSession(model.file, providers=["CPUExecutionProvider"])
    for shape in ((1, 1, 1), (1, 1, 9), (2, 23, 35), (1, 64, 41)):
        image = noise(*shape)
        outputs = session.run(list(OUTPUTS), {"image": image})
        for pixels, reference in zip(outputs, run_in_torch(model.net, image), strict=True):
            assert pixels.dtype == np.uint8
            assert difference(pixels, reference) <= 1
    # So that equal means something: the last photo's output isn't one flat colour.
    assert outputs[-1].std() > 10


@each_structure
def test_the_contract_of_a_file(exported: dict[str, Exported], name: str) -> None:
    model = onnx.load(exported[name].file)

    def described(values: list[onnx.ValueInfoProto]) -> dict[str, tuple[int, list[str | int]]]:
        return {
            value.name: (
                value.type.tensor_type.elem_type,
                [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim],
            )
            for value in values
        }

    size: list[str | int] = ["batch", "height", "width"]
    uint8 = onnx.TensorProto.UINT8
    inputs = described(model.graph.input)
    assert inputs.pop("image") == (uint8, [*size, 3])
    # No other input has to be given.
    assert inputs.keys() <= {initializer.name for initializer in model.graph.initializer}
    if EXPERIMENTS[name].mode is Mode.PLUS:
        assert inputs == {"thumbnail": (uint8, ["thumbnails", 64, 64, 3])}
    outputs = described(model.graph.output)
    assert list(outputs) == list(OUTPUTS)
    assert outputs == {output: (uint8, [*size, n]) for output, n in OUTPUTS.items()}
    assert [opset.version for opset in model.opset_import if opset.domain == ""] == [18]


@each_structure
def test_what_a_file_says_of_itself(exported: dict[str, Exported], name: str) -> None:
    model = exported[name]
    session = onnxruntime.InferenceSession(model.file, providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map

    assert facts["experiment"] == name
    assert facts["licence"] == "MIT"
    assert facts["project_version"] == retinex.__version__
    assert int(facts["stride"]) == 8
    assert json.loads(facts["training"]) == model.facts


def test_no_licence_is_made_up(exported: dict[str, Exported]) -> None:
    model = exported["join_ignore_enhance"]
    unlicensed = {name: fact for name, fact in model.facts.items() if name != "licence"}

    assert "licence" not in metadata(model.net, model.experiment, unlicensed)


@each_structure
def test_no_local_path_in_a_file(exported: dict[str, Exported], name: str) -> None:
    content = exported[name].file.read_bytes()
    paths = [REPOSITORY, Path.home(), tempfile.gettempdir(), sys.prefix]

    for text in ("site-packages", "/home", "/root", *map(str, paths)):
        assert text.encode() not in content


@each_structure
def test_one_file_holds_everything(exported: dict[str, Exported], name: str) -> None:
    model = exported[name]

    assert {file.name for file in model.file.parent.iterdir()} == {f"{e}.onnx" for e in EXPORTED}
    assert model.file.stat().st_size > 4 * sum(p.numel() for p in rewrite(model.net).parameters())


@each_structure
def test_no_convolution_is_one_that_webgpu_gets_wrong(
    exported: dict[str, Exported], name: str
) -> None:
    """onnxruntime's of 6, 9, 15… channels are, up to version 1.30 at least (its issue 29651)."""
    graph = onnx.load(exported[name].file).graph
    sizes = {weight.name: weight.dims for weight in graph.initializer}
    convolved = [sizes[node.input[1]][1] for node in graph.node if node.op_type == "Conv"]
    assert 64 in convolved
    assert not [count for count in convolved if count > 3 and count % 3 == 0 and count % 4]


@each_structure
def test_denormal_weights_are_flushed(exported: dict[str, Exported], name: str) -> None:
    model = onnx.load(exported[name].file)
    smallest = np.finfo(np.float32).tiny
    assert 0 < DENORMAL < smallest

    tensors = [onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
    weights = np.concatenate([t.ravel() for t in tensors if t.dtype == np.float32])

    assert len(weights) > 100_000
    assert not ((weights != 0) & (np.abs(weights) < smallest)).any()


def test_a_thumbnail_stands_for_the_whole_photo(exported: dict[str, Exported]) -> None:
    session = onnxruntime.InferenceSession(exported["retinex_plus"].file)
    image = noise(2, 150, 70)
    thumbnails = np.stack([make_thumbnail(photo) for photo in image])

    own = session.run(["output"], {"image": image})[0]
    given = session.run(["output"], {"image": image, "thumbnail": thumbnails})[0]
    of_darker = session.run(["output"], {"image": image, "thumbnail": thumbnails // 4})[0]
    of_one, of_its_copies = (
        session.run(["output"], {"image": image, "thumbnail": thumbnail})[0]
        for thumbnail in (thumbnails[:1], thumbnails[:1].repeat(len(image), axis=0))
    )

    assert difference(given, own) <= 1
    assert difference(of_darker, own) > 10
    np.testing.assert_array_equal(of_one, of_its_copies)


@each_structure
def test_tiles_equal_one_pass(
    exported: dict[str, Exported], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = noise(203, 331)
    enhancer = retinex.Enhancer(name, device="cpu", models=exported[name].file.parent)
    whole = enhancer.enhance(photo)
    tiles: list[int] = []

    monkeypatch.setattr(retinex.tiles, "TILE", 64)
    tiled = enhancer.enhance(photo, progress=lambda done, of: tiles.append(of))

    assert len(tiles) > 1
    assert tiles == [len(tiles)] * len(tiles)
    for stage, pixels in whole.stages.items():
        assert difference(tiled.stages[stage], pixels) <= 1
    (reference,) = run_in_torch(exported[name].net, photo[None])[-1]
    assert difference(tiled.output, reference) <= 1


def test_the_script_exports_a_weights_file(
    exported: dict[str, Exported],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = exported["join_ignore_enhance"]
    save_weights(tmp_path / "checkpoints" / "mine.safetensors", model.net, model.facts)
    monkeypatch.chdir(tmp_path)

    run_program(SCRIPT)

    file = tmp_path / "onnx_models" / "join_ignore_enhance.onnx"
    assert file.read_bytes() == model.file.read_bytes()
    head, *rows = capsys.readouterr().out.splitlines()[-2:]
    assert "difference" in head
    (row,) = rows
    assert "join_ignore_enhance.onnx" in row
    assert int(row.split()[-1]) <= 1
    assert retinex.enhance(noise(9, 5), model.experiment.name, models="onnx_models").output.any()


@pytest.mark.parametrize("name", ["join_ignore_enhance", "retinex_plus"])
def test_half_precision_halves_the_file_alone(
    exported: dict[str, Exported], name: str, tmp_path: Path
) -> None:
    model = exported[name]
    half = to_half(onnx.load(model.file))
    onnx.checker.check_model(half, full_check=True)
    onnx.save(half, tmp_path / f"{name}.onnx")
    assert (tmp_path / f"{name}.onnx").stat().st_size < 0.6 * model.file.stat().st_size

    photo = noise(65, 130)
    full_size = retinex.enhance(photo, name, "cpu", model.file.parent)
    half_size = retinex.enhance(photo, name, "cpu", tmp_path)
    for stage, pixels in full_size.stages.items():
        assert difference(half_size.stages[stage], pixels) <= 2


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_released_weights_can_be_exported_in_half_precision(tmp_path: Path, name: str) -> None:
    script = runpy.run_path(str(SCRIPT))
    net, _, _ = load_weights(REPOSITORY / "checkpoints" / f"{name}.safetensors")
    half = to_half(onnx.load(REPOSITORY / "onnx_models" / f"{name}.onnx"))
    onnx.save(half, tmp_path / "half.onnx")

    assert script["largest_difference"](net, tmp_path / "half.onnx") <= script["TOLERANCE_OF_HALF"]
    script["check_range"](net, Path("weights"))  # raises an error where float16 would overflow


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_released_weights_in_half_precision_give_the_same_pictures(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layer by layer in float16, as on a GPU; onnxruntime's CPU provider computes in float32.

    Of a dark photo and a brighter one. Where retinex_plus can hardly tell whether to brighten one
    at all, rounding matters more, as README says; these aren't such photos.
    """
    net, _, _ = load_weights(REPOSITORY / "checkpoints" / f"{name}.safetensors")
    dark = retinex.open_photo(REPOSITORY / "examples" / "coffee.jpg").rgb[100:148, 100:164]
    photos = np.stack([dark, (dark * (255 / dark.max())).astype(np.uint8)])
    in_single = run_in_torch(net, photos)
    monkeypatch.setattr(portable, "from_bytes", lambda *photo: from_bytes(*photo).half())
    with torch.inference_mode():
        in_half = run_portable(build_portable(rewrite(net)).half(), photos)
    for ours, reference in zip(in_half, in_single, strict=True):
        assert difference(ours, reference) <= 2


def test_half_precision_is_refused_where_values_would_overflow(
    exported: dict[str, Exported], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = exported["join_ignore_enhance"]
    net = copy.deepcopy(model.net)
    with torch.no_grad():
        net.decom.convs[2].weight *= 1e5
        net.decom.convs[3].weight /= 1e5
    save_weights(tmp_path / "checkpoints" / "mine.safetensors", net, model.facts)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SystemExit, match=r"without --fp16"):
        run_program(SCRIPT, "--fp16")

    assert not list((tmp_path / "onnx_models" / "fp16").glob("*.onnx"))


def test_the_largest_value_is_none_where_one_is_none(exported: dict[str, Exported]) -> None:
    net = copy.deepcopy(exported["join_ignore_enhance"].net)
    assert 0 < largest_activation(net, [noise(1, 9, 9)]) < np.inf
    with torch.no_grad():
        net.decom.convs[2].bias[0] = np.nan

    assert np.isnan(largest_activation(net, [noise(1, 9, 9)]))


def test_a_file_that_computes_something_else_does_not_replace_the_former(
    exported: dict[str, Exported],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = exported["join_ignore_enhance"]
    save_weights(tmp_path / "mine.safetensors", model.net, model.facts)
    former = tmp_path / "onnx_models" / "join_ignore_enhance.onnx"
    former.parent.mkdir()
    former.write_bytes(b"the former one")
    monkeypatch.chdir(tmp_path)

    def run_brighter(net: Network, image: Pixels) -> list[Pixels]:
        return [(stage // 2 + 100).astype(np.uint8) for stage in run_in_torch(net, image)]

    monkeypatch.setattr(portable, "run_in_torch", run_brighter)
    with pytest.raises(SystemExit, match=r"join_ignore_enhance\.onnx would compute something else"):
        run_program(SCRIPT, "mine.safetensors")

    assert former.read_bytes() == b"the former one"
    assert capsys.readouterr().out.endswith(", not written\n")


def test_weights_that_would_become_one_file_are_refused(
    exported: dict[str, Exported], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = exported["join_ignore_enhance"]
    for name in ("a", "b"):
        save_weights(tmp_path / f"{name}.safetensors", model.net, model.facts)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SystemExit, match="several of these are weights of join_ignore_enhance"):
        run_program(SCRIPT, "a.safetensors", "b.safetensors")

    assert not (tmp_path / "onnx_models").exists()


def test_the_folder_looked_into_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=f"no .safetensors in {re.escape(str(tmp_path))}"):
        run_program(SCRIPT)


@pytest.mark.parametrize("arguments", [[], ["missing.safetensors"]])
def test_the_script_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SystemExit, match=r"safetensors.*train\.py"):
        run_program(SCRIPT, *arguments)
