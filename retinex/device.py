"""Choice of the device that onnxruntime runs on, and the truth about which one it was.

onnxruntime falls back to its CPU provider without an error when CUDA doesn't load, even in a
session that asked for CUDA alone; only a session that has run can tell.
"""

import importlib
import importlib.util
import io
import os
import threading
import timeit
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidGraph, InvalidProtobuf, NoModel

from retinex.onnx_network import OnnxNetwork, check_not_black, new_session, session_options
from retinex.photo import Pixels

CUDA_PROVIDER = "CUDAExecutionProvider"
OPENVINO_PROVIDER = "OpenVINOExecutionProvider"
CPU_PROVIDER = "CPUExecutionProvider"
OPENVINO_PACKAGE = "onnxruntime_ep_openvino"

OPENING = threading.RLock()
"""Held while a model is opened: providers can be registered, and devices looked for, only once."""
if hasattr(os, "register_at_fork"):  # a child forked while it is held would wait forever
    os.register_at_fork(
        before=OPENING.acquire,
        after_in_parent=OPENING.release,
        after_in_child=OPENING.release,
    )
LARGEST_ROUNDING = 5
"""Steps of 255 that pictures computed in bf16 may differ from those of the CPU in float32."""

WORTHWHILE = 0.95
"""Share of the CPU's time that lets `auto` choose a device: of equals chance would choose, and
other devices take more memory."""

CUDA_OPTIONS = {
    # EXHAUSTIVE, the default, searches anew for every photo size: seconds instead of milliseconds.
    "cudnn_conv_algo_search": "HEURISTIC",
    # Don't double the arena at each growth; it never shrinks.
    "arena_extend_strategy": "kSameAsRequested",
    # GPUs since 2020 would round float32 to 10 bits; who wants that speed takes float16 files.
    "use_tf32": "0",
}

OPENVINO_FLOAT32 = {"load_config": '{"CPU": {"INFERENCE_PRECISION_HINT": "f32"}}'}
"""Options that keep OpenVINO from bf16."""


class Device(StrEnum):
    """What to run the networks on."""

    AUTO = "auto"
    """CUDA, else OpenVINO, if it works and is clearly faster than the CPU; else the CPU."""
    CUDA = "cuda"
    OPENVINO = "openvino"
    """Intel's library for its CPUs; computes in bf16 where that is faster."""
    CPU = "cpu"

    @property
    def label(self) -> str:
        """The device as people write it."""
        return "OpenVINO" if self is Device.OPENVINO else self.upper()


TRIED_SIZE = {Device.CUDA: (256, 384), Device.OPENVINO: (128, 192)}
"""Height and width of what a device must compute faster than the CPU. Smaller pictures take a GPU
no less time, as starting its kernels is what they wait for."""

INSTALL = {
    Device.CUDA: (
        'Install the CUDA libraries with `pip install -e ".[gpu]"`, check that `nvidia-smi` lists '
        "a GPU of 2018 or later (Turing) and driver 580 or later, and that only one of onnxruntime "
        "and onnxruntime-gpu is installed, or choose the CPU."
    ),
    Device.OPENVINO: (
        "OpenVINO runs on Intel's processors, after "
        '`pip install -e ".[openvino]"`; or choose the CPU.'
    ),
}
"""What to do where a device doesn't work."""


class DeviceError(RuntimeError):
    """The device asked for doesn't work here; the message says what to do."""

    def __init__(self, device: Device, reason: str, advice: str = "") -> None:
        super().__init__(device, reason, advice)  # so that it can be pickled
        self.device, self.reason = device, reason
        self.advice = advice or INSTALL[device]

    def __str__(self) -> str:
        return f"can't run on {self.device.label}: {self.reason}. {self.advice}"


@dataclass(frozen=True)
class OpenedModel:
    """An ONNX file ready to run.

    Attributes:
        network: the networks in it.
        device: where it really runs.
        reason: why nothing faster was chosen, for people; empty if there is nothing or if `device`
            was asked for.
    """

    network: OnnxNetwork
    device: Device
    reason: str = ""


def open_model(model: Path | bytes, device: Device) -> OpenedModel:
    """Open an ONNX file, or the bytes of one, on `device`.

    Raises:
        DeviceError: `device` is CUDA or OpenVINO and doesn't work.
    """
    with OPENING:
        match device:
            case Device.CUDA:
                return OpenedModel(_open_on_cuda(model), device)
            case Device.OPENVINO:
                return OpenedModel(_open_on_openvino(model), device)
            case Device.CPU:
                return OpenedModel(OnnxNetwork(new_session(model, [CPU_PROVIDER])), device)
            case Device.AUTO:
                return _open_on_fastest(model)


def _open_on_fastest(model: Path | bytes) -> OpenedModel:
    cpu = open_model(model, Device.CPU)
    reasons = []
    others = (Device.CUDA, Device.OPENVINO) if _has_openvino() else (Device.CUDA,)
    for device in others:
        try:
            opened = open_model(model, device)
            with _explaining(device, model):
                _require_better(opened, cpu)
        except DeviceError as error:
            reasons.append(error.reason)
        else:
            return replace(opened, reason="; ".join(reasons))
    return replace(cpu, reason="; ".join(reasons))


def _require_better(opened: OpenedModel, cpu: OpenedModel) -> None:
    """Raise `DeviceError` unless a device's pictures are the CPU's, and made clearly faster."""
    device, network = opened.device, opened.network
    ramp = _draw_ramp(*TRIED_SIZE[device])
    if _compare_runs(ramp, network, cpu.network) > LARGEST_ROUNDING:
        raise DeviceError(device, f"{device.label}'s pictures are wrong on this processor")
    ours, theirs = _time_in_turns(
        partial(network.run_whole, ramp), partial(cpu.network.run_whole, ramp)
    )
    if ours > WORTHWHILE * theirs:
        raise DeviceError(device, f"{device.label} isn't clearly faster than the CPU here")


def _time_in_turns(*runs: Callable[[], object]) -> list[float]:
    """Return the seconds that each run takes, the least of a few turns.

    They take turns, as other programs may need a core for a while.
    """
    turns = [[timeit.timeit(run, number=1) for run in runs] for _ in range(5)]
    return [min(seconds) for seconds in zip(*turns, strict=True)]


def _compare_runs(photo: Pixels, network: OnnxNetwork, reference: OnnxNetwork) -> int:
    """Return the largest difference, in steps of 255, between what two make of a photo."""
    pairs = zip(network.run_whole(photo), reference.run_whole(photo), strict=True)
    return max(int(np.abs(ours.astype(int) - theirs).max()) for ours, theirs in pairs)


def _draw_ramp(height: int, width: int) -> Pixels:
    """Draw a picture, (height, width, 3), from black to gray."""
    grays = np.rint(np.linspace(0, 191, width)).astype(np.uint8)
    return np.broadcast_to(grays[:, None], (height, width, 3)).copy()


def _open_on_cuda(model: Path | bytes) -> OnnxNetwork:
    """Open `model` on CUDA and prove by a run that it works there."""
    with _explaining(Device.CUDA, model):
        if reason := why_not_cuda():
            raise DeviceError(Device.CUDA, reason)
        missing = _preload_cuda_libraries()
        network = OnnxNetwork(new_session(model, [(CUDA_PROVIDER, CUDA_OPTIONS), CPU_PROVIDER]))
        _prove(network, CUDA_PROVIDER, missing)
    return network


def _open_on_openvino(model: Path | bytes) -> OnnxNetwork:
    """Open `model` on OpenVINO and prove by a run that it works there."""
    with _explaining(Device.OPENVINO, model):
        if reason := why_not_openvino():
            raise DeviceError(Device.OPENVINO, reason)
        # Importing onnx takes a quarter of a second, which only those who have OpenVINO pay.
        from retinex.openvino_parts import take_apart

        options = _find_openvino_options()
        describer, pixels = take_apart(model, in_bf16=options != OPENVINO_FLOAT32)
        network = OnnxNetwork(
            _new_openvino_session(pixels, options),
            None if describer is None else new_session(describer, [CPU_PROVIDER]),
        )
        _prove(network, OPENVINO_PROVIDER)
    return network


@cache
def _find_openvino_options() -> dict[str, str]:
    """Return the options that OpenVINO is faster with: in bf16 or in float32.

    Where the processor has bf16 it takes that, but Intel's AVX512 computes half as fast in it as in
    float32; AMX is made for it.
    """
    as_it_chooses, in_float32 = _time_in_turns(
        _prepare_convolution({}), _prepare_convolution(OPENVINO_FLOAT32)
    )
    return {} if as_it_chooses < WORTHWHILE * in_float32 else OPENVINO_FLOAT32


def _prepare_convolution(options: dict[str, str]) -> Callable[[], object]:
    """Return what computes a convolution, as the networks have them, on OpenVINO."""
    from retinex.openvino_parts import make_convolution

    session = _new_openvino_session(make_convolution(), options)
    features = np.ones(session.get_inputs()[0].shape, np.float32)
    return lambda: session.run(None, {"features": features})


def _new_openvino_session(model: bytes, options: dict[str, str]) -> onnxruntime.InferenceSession:
    session = session_options()
    session.add_provider_for_devices(_openvino_cpus(), options)
    return onnxruntime.InferenceSession(model, session, enable_fallback=0)


@contextmanager
def _explaining(device: Device, model: Path | bytes) -> Iterator[None]:
    """Raise a `DeviceError` of whatever is raised while `model` is opened on `device`.

    But for what no device can open.
    """
    try:
        yield
    except (DeviceError, InvalidGraph, InvalidProtobuf, NoModel):
        raise
    except Exception as error:  # libraries and their kernels fail with whatever they raise
        name = model.name if isinstance(model, Path) else "the merged networks"
        raise DeviceError(device, f"{device.label} failed on {name}: {error}") from error


def _prove(network: OnnxNetwork, provider: str, missing: str = "") -> None:
    """Raise whatever is raised if `network` doesn't run on `provider`.

    Args:
        missing: what is known of libraries that the provider needs.
    """
    if network.session.get_providers()[0] != provider:
        reason = "onnxruntime fell back to the CPU: the libraries didn't load"
        raise RuntimeError(f"{reason} ({missing})" if missing else reason)
    gray = np.full((1, 16, 16, 3), 128, np.uint8)
    check_not_black(gray, network.run_whole(gray[0]))


@cache
def _preload_cuda_libraries() -> str:
    """Load the libraries that CUDA needs, once; return what onnxruntime prints of missing ones."""
    with redirect_stdout(io.StringIO()) as printed:
        onnxruntime.preload_dlls()
    return " ".join(printed.getvalue().split())


@cache
def why_not_cuda() -> str:
    """Say why CUDA can't be tried on this machine; empty if it can."""
    if CUDA_PROVIDER not in onnxruntime.get_available_providers():
        return "the installed onnxruntime has no CUDA support"
    if not _has_nvidia_gpu():
        return "no NVIDIA GPU was found"
    return ""


def _has_nvidia_gpu() -> bool:
    """Look for the driver's device files (Linux, WSL) or its library (Windows)."""
    return any(
        path.exists()
        for path in (
            Path("/dev/nvidiactl"),
            Path("/dev/dxg"),
            Path(os.environ.get("SYSTEMROOT", "/nonexistent")) / "System32" / "nvcuda.dll",
        )
    )


@cache
def why_not_openvino() -> str:
    """Say why OpenVINO can't be tried on this machine; empty if it can."""
    if not _has_openvino():
        return "onnxruntime's OpenVINO provider isn't installed"
    if not _openvino_cpus():
        return "OpenVINO's provider takes Intel's processors alone"
    return ""


def _has_openvino() -> bool:
    return importlib.util.find_spec(OPENVINO_PACKAGE) is not None


@cache
def _openvino_cpus() -> list[Any]:
    """Load the provider; list the processors it knows, as onnxruntime wants them named."""
    package = importlib.import_module(OPENVINO_PACKAGE)
    onnxruntime.register_execution_provider_library("openvino", package.get_library_path())
    return [
        device
        for device in onnxruntime.get_ep_devices()
        if device.ep_name == OPENVINO_PROVIDER
        and device.device.type == onnxruntime.OrtHardwareDeviceType.CPU
    ]
