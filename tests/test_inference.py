"""Photos through the exported networks in `onnx_models`, as onnxruntime runs them."""

import io
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import open_in_parts
from PIL import Image
from skimage import data

import retinex
from retinex import EXPERIMENTS, Enhancer, ModelError, Stage, inference, tiles
from retinex.device import Device, DeviceError, OpenedModel
from retinex.experiments import GROUPS
from retinex.inference import CombinedEnhancer
from retinex.metrics import psnr
from retinex.onnx_network import OnnxNetwork
from retinex.photo import Pixels
from retinex.training.low_light import LowLight, darken

GRAY_STAGES = {Stage.ILLUMINATION, Stage.ENHANCED_ILLUMINATION}


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "TILE", 64)


class OutOfMemory:
    """A session on a device that opens but can't run photos."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run_with_iobinding(self, *_: Any) -> None:
        raise RuntimeError("failed to allocate memory")


@pytest.fixture
def small_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that there is a GPU with hardly any memory, and that it wants networks in parts."""
    on_cpu = inference.open_model

    def open_on_gpu(model: Path | bytes, device: Device) -> OpenedModel:
        if device is Device.CPU:
            return on_cpu(model, Device.CPU)
        network = open_in_parts(model)
        return OpenedModel(replace(network, session=OutOfMemory(network.session)), Device.CUDA)

    monkeypatch.setattr(inference, "open_model", open_on_gpu)


@pytest.mark.usefixtures("small_gpu")
@pytest.mark.parametrize(
    "together", [("join_ignore_enhance",), ("retinex_plus",), GROUPS[1]], ids=str
)
def test_cpu_takes_over_where_the_fastest_device_fails(together: tuple[str, ...]) -> None:
    photo = np.full((40, 50, 3), 20, np.uint8)
    enhancer = CombinedEnhancer(together)
    assert enhancer.device is Device.CUDA
    with pytest.warns(RuntimeWarning, match="CPU takes over"):
        *_, result = enhancer.enhance(photo)
    assert result.device is Device.CPU
    assert "CUDA failed" in result.device_reason
    assert "failed to allocate memory" in result.device_reason
    assert result.output.mean() > photo.mean()


class Overflowing(OutOfMemory):
    """A session in float16 that can't hold the numbers of bright photos."""

    def run_with_iobinding(self, binding: onnxruntime.IOBinding) -> None:
        self._session.run_with_iobinding(binding)
        *_, output = binding.get_outputs()
        if output.numpy().min() > 200:
            output.update_inplace(output.numpy() * 0)


def test_cpu_takes_over_where_float16_overflows(monkeypatch: pytest.MonkeyPatch) -> None:
    on_cpu = inference.open_model(inference.MODELS_FOLDER / "join_ignore_enhance.onnx", Device.CPU)
    in_half = OpenedModel(OnnxNetwork(Overflowing(on_cpu.network.session)), Device.CUDA)
    monkeypatch.setattr(
        inference, "open_model", lambda _, device: on_cpu if device is Device.CPU else in_half
    )
    enhancer = Enhancer("join_ignore_enhance")
    assert enhancer.enhance(make_dark(20, 30)).device is Device.CUDA
    assert enhancer.enhance(np.zeros((8, 9, 3), np.uint8)).device is Device.CUDA
    with pytest.warns(RuntimeWarning, match="black"):
        result = enhancer.enhance(np.full((20, 30, 3), 255, np.uint8))
    assert result.device is Device.CPU
    assert result.output.any()


@pytest.mark.usefixtures("small_gpu")
def test_a_device_that_was_asked_for_and_fails_is_an_error() -> None:
    with pytest.raises(DeviceError, match=r"failed to allocate memory.*or choose the CPU") as error:
        Enhancer("join_ignore_enhance", "cuda").enhance(np.zeros((4, 5, 3), np.uint8))
    assert "pip install" not in str(error.value)


every_experiment = pytest.mark.parametrize("experiment", EXPERIMENTS)


@cache
def load(experiment: str) -> Enhancer:
    return Enhancer(experiment, "cpu")


def make_scene(height: int, width: int, seed: int = 0) -> Pixels:
    """Paint coloured rectangles on a gradient."""
    rng = np.random.default_rng(seed)
    scene = np.empty((height, width, 3), np.uint8)
    scene[:] = np.linspace(90, 220, width)[:, None]
    for _ in range(12):
        top, left = rng.integers(0, height), rng.integers(0, width)
        bottom, right = top + height // 4 + 1, left + width // 4 + 1
        scene[top:bottom, left:right] = rng.integers(20, 256, 3)
    return scene


def make_dark(height: int, width: int, seed: int = 0) -> Pixels:
    scene = make_scene(height, width, seed)
    return darken(scene, LowLight(exposure=0.02), np.random.default_rng(seed))


@every_experiment
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (9, 1), (16, 16), (37, 53)])
def test_five_stages_of_the_size_of_the_photo(experiment: str, height: int, width: int) -> None:
    dark = make_dark(height, width)
    result = load(experiment).enhance(dark)
    assert list(result.stages) == list(Stage)
    for stage, image in result.stages.items():
        assert image.shape == ((height, width) if stage in GRAY_STAGES else (height, width, 3))
        assert image.dtype == np.uint8
    assert np.array_equal(result.stages[Stage.INPUT], dark)
    assert result.output is result.stages[Stage.OUTPUT]
    assert result.experiment == experiment


def test_path_bytes_file_and_array_give_the_same(tmp_path: Path) -> None:
    dark = make_dark(37, 53)
    path = tmp_path / "dark.png"
    Image.fromarray(dark).save(path)
    expected = retinex.enhance(dark).output
    sources = (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), Image.open(path))
    for source in sources:
        assert np.array_equal(retinex.enhance(source).output, expected), type(source)


@every_experiment
def test_dark_photo_gets_clearly_brighter(experiment: str) -> None:
    dark = make_dark(96, 128)
    output = load(experiment).enhance(dark).output
    assert output.mean() > 1.5 * dark.mean()


@every_experiment
def test_a_gray_photo_stays_gray(experiment: str) -> None:
    gray = make_dark(96, 128).mean(axis=2).astype(np.uint8)
    for stage, image in load(experiment).enhance(gray).stages.items():
        if stage.channels == 3:
            assert not (image - image[:, :, :1]).any(), stage
            assert image.std() > 1


@every_experiment
def test_output_is_reflectance_times_enhanced_illumination(experiment: str) -> None:
    stages = load(experiment).enhance(make_dark(96, 128)).stages
    illumination = stages[Stage.ENHANCED_ILLUMINATION].astype(float)[:, :, None]
    reflectance = stages[Stage.REFLECTANCE].astype(float)
    difference = stages[Stage.OUTPUT] - reflectance * illumination / 255
    assert difference.min() >= -3
    # Where a factor is shown as white it may be more than 1, and the output brighter.
    exact = (illumination < 255) & (reflectance < 255) | EXPERIMENTS[experiment].ignore_enhance
    assert (difference * exact).max() <= 3


def test_without_enhance_net_the_output_is_the_reflectance() -> None:
    names = [name for name, experiment in EXPERIMENTS.items() if experiment.ignore_enhance]
    assert names
    for name in names:
        stages = load(name).enhance(make_dark(96, 128)).stages
        assert np.array_equal(stages[Stage.OUTPUT], stages[Stage.REFLECTANCE])


@every_experiment
def test_no_visible_border(experiment: str) -> None:
    """The frame of an evenly lit wall is as bright as what lies 12 pixels further in."""
    wall = np.full((120, 152, 3), (170, 150, 130), np.uint8)
    dark = darken(wall, LowLight(exposure=0.03), np.random.default_rng(1))
    for stage, image in load(experiment).enhance(dark).stages.items():
        pixels = image.astype(float).reshape(120, 152, -1).mean(axis=2)
        for turns in range(4):
            side = np.rot90(pixels, turns)[:, 14:-14]
            border, inside = side[:2].mean(), side[12:14].mean()
            # How far apart pairs of rows in the middle are by noise alone.
            rows = side[24:-24].reshape(-1, 2, side.shape[1]).mean(axis=(1, 2))
            allowed = 4 + 2 * np.ptp(rows)
            assert abs(border - inside) <= allowed, f"{stage}, side {turns}"


@pytest.mark.usefixtures("small_tiles")
def test_progress_counts_tiles() -> None:
    calls: list[tuple[int, int]] = []
    load("join").enhance(make_dark(145, 210), lambda done, total: calls.append((done, total)))
    assert calls == [(done, 6) for done in range(1, 7)]


@pytest.mark.usefixtures("small_tiles")
def test_exception_in_progress_stops_the_run() -> None:
    calls: list[int] = []

    def cancel_at_second_tile(done: int, _: int) -> None:
        calls.append(done)
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load("join").enhance(make_dark(145, 210), cancel_at_second_tile)
    assert calls == [1, 2]


@every_experiment
@pytest.mark.parametrize("size", [(300, 421), (65, 281), (1, 266)], ids=str)
def test_tiles_leave_no_seams(
    experiment: str, size: tuple[int, int], request: pytest.FixtureRequest
) -> None:
    dark = make_dark(*size)
    one_pass = load(experiment).enhance(dark)
    request.getfixturevalue("small_tiles")
    tiled = load(experiment).enhance(dark)
    for stage in Stage:
        difference = tiled.stages[stage].astype(int) - one_pass.stages[stage]
        assert np.abs(difference).max() <= 1, stage


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize(
    "together",
    [("split_resize", "split_transposed"), ("join_ignore_enhance", "split_resize")],
    ids=str,
)
def test_experiments_give_together_what_each_gives(together: tuple[str, ...]) -> None:
    dark = make_dark(145, 210)
    tiles = []
    networks = CombinedEnhancer(together, "cpu")  # others round results of their own
    results = networks.enhance(dark, lambda *tile: tiles.append(tile))
    assert tiles[-1] == (len(tiles), len(tiles))
    assert tuple(result.experiment for result in results) == together
    for result in results:
        alone = load(result.experiment).enhance(dark)
        for stage in Stage:
            difference = result.stages[stage].astype(int) - alone.stages[stage]
            assert np.abs(difference).max() <= 1, (result.experiment, stage)


def test_a_decom_net_in_common_is_computed_once() -> None:
    resized, transposed = CombinedEnhancer(["split_resize", "split_transposed"]).enhance(
        make_dark(40, 50)
    )
    other, joined = CombinedEnhancer(["split_resize", "join"]).enhance(make_dark(40, 50))
    for stage in (Stage.REFLECTANCE, Stage.ILLUMINATION):
        assert resized.stages[stage] is transposed.stages[stage]
        assert other.stages[stage] is not joined.stages[stage]


def test_files_of_different_inputs_are_not_merged() -> None:
    with pytest.raises(ValueError, match=r"retinex_plus\.onnx can't be merged"):
        CombinedEnhancer(["join", "retinex_plus"])
    with pytest.raises(ValueError, match="can't be merged"):
        CombinedEnhancer(["retinex_plus", "retinex_plus"])


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n"])
def test_a_broken_file_to_merge_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    shutil.copy(inference.MODELS_FOLDER / "split_resize.onnx", tmp_path)
    (tmp_path / "split_transposed.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"split_transposed\.onnx.*download it anew"):
        CombinedEnhancer(["split_resize", "split_transposed"], models=tmp_path)


def with_fact(experiment: str, key: str, value: str) -> bytes:
    """A released ONNX file that says something else of itself."""
    model = onnx.load(inference.MODELS_FOLDER / f"{experiment}.onnx")
    (entry,) = (entry for entry in model.metadata_props if entry.key == key)
    entry.value = value
    return model.SerializeToString()


@pytest.mark.parametrize("experiments", [["join"], ["split_resize", "join"]])
@pytest.mark.parametrize("key", ["stride", "receptive_radius"])
def test_a_file_with_wrong_facts_says_what_to_do(
    tmp_path: Path, experiments: list[str], key: str
) -> None:
    shutil.copy(inference.MODELS_FOLDER / "split_resize.onnx", tmp_path)
    (tmp_path / "join.onnx").write_bytes(with_fact("join", key, "none"))
    with pytest.raises(ModelError, match=r"join.*download it anew"):
        CombinedEnhancer(experiments, models=tmp_path)


@pytest.mark.parametrize("experiments", [["join"], ["split_resize", "join"]])
def test_a_file_of_another_experiment_is_not_taken_for_it(
    tmp_path: Path, experiments: list[str]
) -> None:
    shutil.copy(inference.MODELS_FOLDER / "split_resize.onnx", tmp_path)
    shutil.copy(inference.MODELS_FOLDER / "split_resize.onnx", tmp_path / "join.onnx")
    with pytest.raises(ModelError, match=r"join.* is of split_resize.*download it anew"):
        CombinedEnhancer(experiments, models=tmp_path)


def test_experiments_of_one_decom_net_run_together() -> None:
    assert ("split_resize", "split_transposed") in GROUPS
    assert list(chain(*GROUPS)) == list(EXPERIMENTS)
    assert len({EXPERIMENTS[names[0]].decom for names in GROUPS}) == len(GROUPS)


@pytest.mark.parametrize("halo", [8, 40, 96])
@pytest.mark.parametrize("size", [(1, 1), (37, 2000), (1201, 1200), (4003, 6001)], ids=str)
def test_tiles_of_equal_size_cover_the_photo_once(size: tuple[int, int], halo: int) -> None:
    covered = np.zeros(size, np.uint8)
    shapes: set[tuple[int, int]] = set()
    for tile in tiles.split_into_tiles(*size, halo, stride=8):
        covered[tile.core] += 1
        seen = np.zeros((tile.rows.stop - tile.rows.start, tile.columns.stop - tile.columns.start))
        shapes.add(seen.shape)
        assert seen[tile.core_inside].shape == covered[tile.core].shape
    assert (covered == 1).all()
    assert len(shapes) == 1


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak")
def test_memory_is_that_of_a_tile() -> None:
    """More pixels take no more memory than they and their stages are large."""
    code = (
        "import numpy, retinex\n"
        "from retinex import tiles\n"
        "tiles.TILE = 128\n"
        "for side in (448, 1088):  # tiles of 320 pixels\n"
        "    result = retinex.enhance(numpy.zeros((side, side, 3), numpy.uint8), device='cpu')\n"
        "    print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
    )
    root = Path(retinex.__file__).parent.parent
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    small, large = (int(kilobytes) * 1024 for kilobytes in done.stdout.split())
    # The array, its copy and 8 bytes a pixel of stages; one feature map of 64 channels takes 256.
    in_and_out = (3 + 3 + 8) * (1088**2 - 448**2)
    assert large - small < in_and_out + 16 * 2**20


def test_threads_share_an_enhancer() -> None:
    enhancer = load("split_resize")
    photos = [make_dark(40 + 7 * seed, 90 - 5 * seed, seed) for seed in range(8)]
    alone = [enhancer.enhance(photo).output for photo in photos]
    with ThreadPoolExecutor(max_workers=4) as pool:
        together = [result.output for result in pool.map(enhancer.enhance, photos)]
    for output, expected in zip(together, alone, strict=True):
        assert np.array_equal(output, expected)


def test_networks_are_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    inference._loaded.clear()
    opened: list[Path] = []
    open_model = inference.open_model

    def counted(path: Path, device: retinex.Device) -> object:
        opened.append(path)
        return open_model(path, device)

    monkeypatch.setattr(inference, "open_model", counted)
    together = threading.Barrier(4)

    def enhance(device: str, models: str | Path) -> None:
        together.wait()
        retinex.enhance(make_dark(8, 8), "join", device, models)

    folder = inference.MODELS_FOLDER
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(enhance, ["cpu", retinex.Device.CPU] * 2, [folder, str(folder)] * 2))
    assert len(opened) == 1


def test_a_file_that_was_replaced_is_loaded_anew(tmp_path: Path) -> None:
    file, dark = tmp_path / "join.onnx", make_dark(8, 8)
    outputs = []
    for written, experiment in enumerate(("join", "join_ignore_enhance")):
        file.write_bytes(with_fact(experiment, "experiment", "join"))
        os.utime(file, (written, written))
        outputs.append(retinex.enhance(dark, "join", "cpu", tmp_path).output)
        assert np.array_equal(outputs[-1], retinex.enhance(dark, experiment, "cpu").output)
    assert not np.array_equal(*outputs)
    assert len([key for key in inference._loaded if key[2] == tmp_path.resolve()]) == 1


def test_unknown_experiment_names_those_there_are() -> None:
    with pytest.raises(ModelError) as error:
        retinex.enhance(make_dark(8, 8), "splt_resize")
    assert all(name in str(error.value) for name in EXPERIMENTS)


def test_import_leaves_out_what_only_some_need() -> None:
    code = (
        "import sys, retinex\n"
        "print(sorted({'torch', 'gradio', 'onnx', 'skimage', 'tqdm'} & set(sys.modules)))\n"
    )
    root = Path(retinex.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux tells a process its size")
def test_experiments_share_their_working_memory() -> None:
    code = """if True:
        from pathlib import Path
        import numpy as np
        import retinex

        def megabytes():
            return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

        photo = np.full((480, 480, 3), 20, np.uint8)
        before = megabytes()
        for name in ("split_resize", *retinex.EXPERIMENTS):
            retinex.enhance(photo, name, device="cpu")
            print(megabytes() - before)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, *_, last = map(float, done.stdout.split())
    assert last < 2 * first, done.stdout


@pytest.mark.parametrize("photo", [data.astronaut, data.chelsea, data.coffee])
def test_a_well_lit_photo_comes_back_nearly_unchanged(photo: Callable[[], Pixels]) -> None:
    result = retinex.enhance(photo(), device="cpu")

    assert psnr(result.output, photo()) > 30
    illuminations = (Stage.ILLUMINATION, Stage.ENHANCED_ILLUMINATION)
    measured, enhanced = (result.stages[stage] for stage in illuminations)
    assert (enhanced >= measured).all()  # light is only added
