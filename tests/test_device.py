"""Which device is chosen, on machines whose GPU is there, is missing or fails."""

import importlib
import os
import pickle
import subprocess
import sys
import threading
import timeit
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import onnxruntime
import pytest

from retinex import Enhancer, ModelError, device
from retinex.device import (
    CPU_PROVIDER,
    CUDA_PROVIDER,
    OPENVINO_PROVIDER,
    Device,
    DeviceError,
    open_model,
)
from retinex.inference import MODELS_FOLDER

MODEL = MODELS_FOLDER / "split_resize.onnx"
LIST_OPENVINO_CPUS = device._openvino_cpus.__wrapped__
FIND_OPENVINO_OPTIONS = device._find_openvino_options.__wrapped__


class FakeSession(onnxruntime.InferenceSession):
    """A session that runs on the CPU and pretends, if it was asked to, that it's another device."""

    provider: ClassVar[str]
    pretends: bool

    def __init__(self, path: Path, options: onnxruntime.SessionOptions, **fallback: Any):
        super().__init__(path, options, providers=[CPU_PROVIDER], **fallback)

    def get_providers(self) -> list[str]:
        return [self.provider, CPU_PROVIDER] if self.pretends else [CPU_PROVIDER]


class FakeCuda(FakeSession):
    """One that remembers which providers it was asked for."""

    provider = CUDA_PROVIDER
    asked: ClassVar[list[list[Any]]] = []

    def __init__(
        self,
        path: Path,
        options: onnxruntime.SessionOptions,
        providers: list[Any],
        **fallback: Any,
    ):
        self.asked.append(providers)
        self.pretends = providers != [CPU_PROVIDER]
        super().__init__(path, options, **fallback)


class FakeOpenVino(FakeSession):
    provider = OPENVINO_PROVIDER

    def __init__(
        self,
        path: Path,
        options: "Options",
        providers: list[Any] | None = None,
        **fallback: Any,
    ):
        self.pretends = options.devices == ["a CPU that OpenVINO knows"]
        super().__init__(path, options, **fallback)
        if self.pretends and self.get_overridable_initializers():
            raise RuntimeError("OpenVINO input has no ONNX binding")  # as the real one


class SilentlyOnCpu(FakeCuda):
    """What onnxruntime does when the CUDA libraries don't load."""

    def get_providers(self) -> list[str]:
        return [CPU_PROVIDER]


class FailingToOpen(FakeSession):
    """A device without memory for the weights; onnxruntime would then open them on the CPU."""

    def _create_inference_session(self, *args: Any, **kwargs: Any) -> None:
        if self.pretends:
            self.pretends = False
            raise RuntimeError("no kernel image is available")
        super()._create_inference_session(*args, **kwargs)


class FailingKernels(FakeSession):
    """A device whose kernels don't run, such as a GPU too old or with no free memory."""

    def run_with_iobinding(self, *args: Any, **kwargs: Any) -> None:
        if self.pretends:
            raise RuntimeError("no kernel image is available")
        super().run_with_iobinding(*args, **kwargs)


class BlackOutput(FakeSession):
    """A device on which float16 overflows in Enhance-Net."""

    def run_with_iobinding(self, binding: onnxruntime.IOBinding, *args: Any) -> None:
        super().run_with_iobinding(binding, *args)
        if self.pretends:
            output = binding.get_outputs()[-1]
            output.update_inplace(output.numpy() * 0)


class WrongPictures(FakeSession):
    """A device that computes nonsense."""

    def run_with_iobinding(self, binding: onnxruntime.IOBinding, *args: Any) -> None:
        super().run_with_iobinding(binding, *args)
        if self.pretends:
            for output in binding.get_outputs():
                output.update_inplace(255 - output.numpy())


@pytest.fixture(autouse=True)
def forget_the_machine() -> Iterator[None]:
    FakeCuda.asked.clear()
    Options.asked.clear()
    caches = (
        device.why_not_cuda,
        device._preload_cuda_libraries,
        device.why_not_openvino,
    )
    for known in caches:
        known.cache_clear()
    yield
    for known in caches:
        known.cache_clear()


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Pretend that there are a GPU and a build for it; tests choose how it behaves."""
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: [CUDA_PROVIDER, CPU_PROVIDER]
    )
    monkeypatch.setattr(device, "_has_nvidia_gpu", lambda: True)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    monkeypatch.setattr(onnxruntime, "InferenceSession", FakeCuda)
    monkeypatch.setattr(device, "_time_in_turns", faster_than_the_cpu)
    return monkeypatch


def faster_than_the_cpu(*runs: Callable[[], object]) -> list[float]:
    """Pretend that the first one, which isn't the CPU's, takes the least time."""
    for run in runs:
        run()
    return [float(k) for k in range(len(runs))]


class Options(onnxruntime.SessionOptions):
    devices: ClassVar[list[str]] = []

    asked: ClassVar[list[dict[str, str]]] = []

    def add_provider_for_devices(self, devices: list[str], options: dict[str, str]) -> None:
        self.devices = devices  # type: ignore[misc]
        self.asked.append(options)


@pytest.fixture
def openvino(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Pretend that OpenVINO is installed and knows the CPU, and that there is no GPU."""
    monkeypatch.setattr(device, "_has_nvidia_gpu", lambda: False)
    monkeypatch.setattr(device, "_has_openvino", lambda: True)
    monkeypatch.setattr(device, "_openvino_cpus", lambda: ["a CPU that OpenVINO knows"])
    monkeypatch.setattr(device, "_find_openvino_options", dict)
    monkeypatch.setattr(onnxruntime, "SessionOptions", Options)
    monkeypatch.setattr(device, "_time_in_turns", faster_than_the_cpu)
    monkeypatch.setattr(onnxruntime, "InferenceSession", FakeOpenVino)
    return monkeypatch


@dataclass(frozen=True)
class Faster:
    """A device beside the CPU, faster than it, that behaves as a test wants."""

    device: Device
    session: type[FakeSession]
    patch: pytest.MonkeyPatch

    def behave_as(self, behaviour: type[FakeSession]) -> None:
        behaving = type("Behaving", (behaviour, self.session), {})
        self.patch.setattr(onnxruntime, "InferenceSession", behaving)


@pytest.fixture(params=["gpu", "openvino"])
def faster(request: pytest.FixtureRequest) -> Faster:
    patch = request.getfixturevalue(request.param)
    if request.param == "gpu":
        return Faster(Device.CUDA, FakeCuda, patch)
    return Faster(Device.OPENVINO, FakeOpenVino, patch)


def runs(opened: device.OpenedModel) -> bool:
    outputs = opened.network.run_whole(np.full((5, 7, 3), 9, np.uint8))
    return outputs[0].shape == (1, 5, 7, 3)


NO_CUDA = {
    "CPU build": ([CPU_PROVIDER], True, "no CUDA support"),
    "no GPU": ([CUDA_PROVIDER, CPU_PROVIDER], False, "no NVIDIA GPU"),
}


@pytest.mark.parametrize(("providers", "has_gpu", "reason"), NO_CUDA.values(), ids=NO_CUDA)
def test_machine_without_cuda(
    monkeypatch: pytest.MonkeyPatch, providers: list[str], has_gpu: bool, reason: str
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    monkeypatch.setattr(device, "_has_nvidia_gpu", lambda: has_gpu)
    monkeypatch.setattr(device, "_has_openvino", lambda: False)
    opened = open_model(MODEL, Device.AUTO)
    assert opened.device is Device.CPU
    assert reason in opened.reason
    assert runs(opened)
    with pytest.raises(DeviceError, match=reason) as error:
        open_model(MODEL, Device.CUDA)
    assert ".[gpu]" in str(error.value) and "choose the CPU" in str(error.value)
    # As from a pool of processes.
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (FailingToOpen, "no kernel image"),
        (FailingKernels, "no kernel image"),
        (BlackOutput, "pictures are black"),
    ],
)
def test_device_that_fails(faster: Faster, behaviour: type[FakeSession], reason: str) -> None:
    faster.behave_as(behaviour)
    opened = open_model(MODEL, Device.AUTO)
    assert opened.device is Device.CPU
    assert f"{faster.device.label} failed" in opened.reason and reason in opened.reason
    assert runs(opened)
    with pytest.raises(DeviceError, match=reason) as error:
        open_model(MODEL, faster.device)
    assert 'pip install -e ".[' in str(error.value)


@pytest.mark.parametrize("seconds", [[2.0, 1.0], [0.99, 1.0]], ids=["slower", "hardly faster"])
def test_device_that_is_not_faster_than_the_cpu(faster: Faster, seconds: list[float]) -> None:
    faster.patch.setattr(device, "_time_in_turns", lambda *runs: seconds)
    opened = open_model(MODEL, Device.AUTO)
    assert opened.device is Device.CPU
    assert f"{faster.device.label} isn't clearly faster" in opened.reason
    assert open_model(MODEL, faster.device).device is faster.device


def test_device_whose_pictures_are_wrong(faster: Faster) -> None:
    faster.behave_as(WrongPictures)
    opened = open_model(MODEL, Device.AUTO)
    assert opened.device is Device.CPU
    assert f"{faster.device.label}'s pictures are wrong" in opened.reason


@pytest.mark.parametrize("wanted", [Device.AUTO, Device.CUDA])
def test_gpu_that_works(gpu: pytest.MonkeyPatch, wanted: Device) -> None:
    asked_before: list[list[Any]] = []
    gpu.setattr(onnxruntime, "preload_dlls", lambda: asked_before.append([*FakeCuda.asked]))
    opened = open_model(MODEL, wanted)
    assert (opened.device, opened.reason) == (Device.CUDA, "")
    (before_libraries,) = asked_before
    assert all(asked == [CPU_PROVIDER] for asked in before_libraries)
    ((first, options), second), *_ = (asked for asked in FakeCuda.asked if len(asked) == 2)
    assert (first, second) == (CUDA_PROVIDER, CPU_PROVIDER)
    assert options["cudnn_conv_algo_search"] == "HEURISTIC"
    assert options["arena_extend_strategy"] == "kSameAsRequested"
    assert options["use_tf32"] == "0"


def test_missing_cuda_libraries_are_named_and_looked_for_once(
    gpu: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looked: list[None] = []

    def preload() -> None:
        looked.append(None)
        print("Failed to load libcublasLt.so.13")

    gpu.setattr(onnxruntime, "preload_dlls", preload)
    gpu.setattr(onnxruntime, "InferenceSession", SilentlyOnCpu)
    reasons = {open_model(MODEL, Device.AUTO).reason for _ in range(2)}
    assert len(reasons) == 1 and "libcublasLt.so.13" in reasons.pop()
    assert len(looked) == 1
    assert capsys.readouterr().out == ""


def test_a_broken_file_is_not_blamed_on_the_device(faster: Faster, tmp_path: Path) -> None:
    (tmp_path / "join.onnx").write_bytes(b"no network")
    with pytest.raises(ModelError, match="broken"):
        Enhancer("join", faster.device, tmp_path)


@pytest.mark.parametrize("wanted", [Device.AUTO, Device.OPENVINO])
@pytest.mark.parametrize("experiment", ["split_resize", "retinex_plus"])
def test_openvino_that_works(openvino: pytest.MonkeyPatch, wanted: Device, experiment: str) -> None:
    opened = open_model(MODELS_FOLDER / f"{experiment}.onnx", wanted)
    assert opened.device is Device.OPENVINO
    assert opened.reason == ("no NVIDIA GPU was found" if wanted is Device.AUTO else "")
    assert runs(opened)


def test_openvino_that_fails_on_larger_pictures(openvino: pytest.MonkeyPatch) -> None:
    def time_in_turns(*runs: Callable[[], object]) -> list[float]:
        raise RuntimeError("no memory for 128 pixels")

    openvino.setattr(device, "_time_in_turns", time_in_turns)
    opened = open_model(MODEL, Device.AUTO)
    assert opened.device is Device.CPU
    assert "no memory for 128 pixels" in opened.reason


@pytest.mark.parametrize(
    ("seconds", "options"),
    [
        ([1.0, 2.0], {}),
        ([2.0, 1.0], device.OPENVINO_FLOAT32),
        ([0.99, 1.0], device.OPENVINO_FLOAT32),  # which is nearer to the other devices' pictures
    ],
)
def test_openvino_runs_in_its_faster_precision(
    openvino: pytest.MonkeyPatch, seconds: list[float], options: dict[str, str]
) -> None:
    openvino.setattr(device, "_find_openvino_options", cache(FIND_OPENVINO_OPTIONS))
    openvino.setattr(device, "_time_in_turns", lambda *runs: seconds)
    for _ in range(2):
        assert open_model(MODEL, Device.OPENVINO).device is Device.OPENVINO
    # Both are tried once, then the faster one is asked for each time.
    assert Options.asked == [{}, device.OPENVINO_FLOAT32, options, options]


def test_the_least_of_each_runs_turns_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    seconds = {"ours": iter([5, 1, 4, 3, 2]), "theirs": iter([9, 8, 6, 7, 10])}

    def time_run(run: Callable[[], None], number: int) -> int:
        run()
        return next(seconds[order[-1]])

    monkeypatch.setattr(timeit, "timeit", time_run)
    runs = [partial(order.append, who) for who in seconds]
    assert device._time_in_turns(*runs) == [1, 6]
    assert order == ["ours", "theirs"] * 5


def test_openvino_is_registered_once_by_many_threads(openvino: pytest.MonkeyPatch) -> None:
    registered: list[str] = []
    together = threading.Barrier(4)

    def register(name: str, path: str) -> None:
        FakeOpenVino(MODEL, Options())  # takes a while, as loading a library does
        registered.append(path)

    def open_it(_: int) -> str:
        together.wait()
        return open_model(MODEL, Device.AUTO).reason

    openvino.setattr(device, "_openvino_cpus", cache(LIST_OPENVINO_CPUS))
    package = SimpleNamespace(get_library_path=lambda: "openvino.so")
    openvino.setattr(importlib, "import_module", lambda name: package)
    openvino.setattr(onnxruntime, "register_execution_provider_library", register)
    openvino.setattr(onnxruntime, "get_ep_devices", list)
    with ThreadPoolExecutor(4) as pool:
        reasons = set(pool.map(open_it, range(4)))
    assert registered == ["openvino.so"]
    assert len(reasons) == 1


def open_in_child(_: int) -> Device:
    return open_model(MODEL, Device.CPU).device


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_process_forked_while_a_model_is_opened_can_open_its_own() -> None:
    held, forking = threading.Event(), threading.Event()
    os.register_at_fork(before=forking.set)  # the hook registered last runs first

    def hold() -> None:
        with device.OPENING:
            held.set()
            forking.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    with get_context("fork").Pool(1) as pool:
        assert pool.map_async(open_in_child, [0]).get(timeout=30) == [Device.CPU]
    thread.join()


def test_openvino_that_does_not_load(openvino: pytest.MonkeyPatch) -> None:
    def fail() -> list[str]:
        raise ImportError("libtbb.so.12 is missing")

    openvino.setattr(device, "_openvino_cpus", fail)
    opened = open_model(MODEL, Device.AUTO)
    assert opened.device is Device.CPU
    assert "libtbb.so.12 is missing" in opened.reason


def test_openvino_that_does_not_know_the_processor(openvino: pytest.MonkeyPatch) -> None:
    openvino.setattr(device, "_openvino_cpus", lambda: [])
    opened = open_model(MODEL, Device.AUTO)
    assert opened.device is Device.CPU
    assert opened.reason == (
        "no NVIDIA GPU was found; OpenVINO's provider takes Intel's processors alone"
    )


def test_openvino_that_is_not_installed(openvino: pytest.MonkeyPatch) -> None:
    openvino.setattr(device, "_has_openvino", lambda: False)
    opened = open_model(MODEL, Device.AUTO)
    assert (opened.device, opened.reason) == (Device.CPU, "no NVIDIA GPU was found")
    with pytest.raises(DeviceError, match=r"isn't installed.*\.\[openvino\]"):
        open_model(MODEL, Device.OPENVINO)


def test_cpu_asked_for_leaves_the_gpu_alone(gpu: pytest.MonkeyPatch) -> None:
    opened = open_model(MODEL, Device.CPU)
    assert (opened.device, opened.reason) == (Device.CPU, "")
    assert FakeCuda.asked == [[CPU_PROVIDER]]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no core affinity")
def test_threads_follow_the_cores_this_process_may_use() -> None:
    code = (
        "import os, sys; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from pathlib import Path; from retinex.device import Device, open_model\n"
        "session = open_model(Path(sys.argv[1]), Device.CPU).network.session\n"
        "print(session.get_session_options().intra_op_num_threads)\n"
    )
    command = [sys.executable, "-c", code, str(MODEL)]
    root = Path(device.__file__).parent.parent
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
    count = len(os.sched_getaffinity(0))
    options = open_model(MODEL, Device.CPU).network.session.get_session_options()
    assert options.intra_op_num_threads == count
