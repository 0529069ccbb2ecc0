"""Choice of the device that onnxruntime runs on, and the truth about which one it was.

onnxruntime falls back to the CPU without an error when CUDA doesn't load, even in a session that
asked for CUDA alone; only a session that has run can tell.
"""

import os
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

CUDA_PROVIDER = "CUDAExecutionProvider"
CPU_PROVIDER = "CPUExecutionProvider"

CUDA_OPTIONS = {
    # EXHAUSTIVE, the default, searches anew for every photo size: seconds instead of milliseconds.
    "cudnn_conv_algo_search": "HEURISTIC",
    # Don't double the arena at each growth; it never shrinks.
    "arena_extend_strategy": "kSameAsRequested",
}

INSTALL_CUDA = (
    "Install the CUDA libraries with `pip install -e '.[gpu]'`, check that `nvidia-smi` lists a "
    "GPU and that only one of onnxruntime and onnxruntime-gpu is installed, or choose the CPU."
)


class Device(StrEnum):
    """What to run the networks on."""

    AUTO = "auto"
    """CUDA where it works, else the CPU."""
    CUDA = "cuda"
    CPU = "cpu"


class DeviceError(RuntimeError):
    """The device asked for doesn't work here; the message says what to do."""


@dataclass(frozen=True)
class OpenedModel:
    """An ONNX file ready to run.

    Attributes:
        session: the onnxruntime session.
        device: where it really runs.
        reason: why that isn't the GPU, for people; empty if it is or if the CPU was asked for.
    """

    session: onnxruntime.InferenceSession
    device: Device
    reason: str = ""


def open_model(path: Path, device: Device) -> OpenedModel:
    """Open the ONNX file at `path` on `device`.

    Raises:
        DeviceError: `device` is CUDA and CUDA doesn't work.
    """
    reason = ""
    if device is not Device.CPU:
        reason = why_not_cuda()
        if not reason:
            try:
                return OpenedModel(_open_on_cuda(path), Device.CUDA)
            except Exception as error:  # kernels fail with whatever their library raises
                reason = f"CUDA failed on {path.name}: {error}"
        if device is Device.CUDA:
            raise DeviceError(f"can't run on CUDA: {reason}. {INSTALL_CUDA}")
    session = _new_session(path, [CPU_PROVIDER])
    return OpenedModel(session, Device.CPU, reason)


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


def _open_on_cuda(path: Path) -> onnxruntime.InferenceSession:
    """Open `path` on CUDA and prove by a run that it works there."""
    onnxruntime.preload_dlls()
    session = _new_session(path, [(CUDA_PROVIDER, CUDA_OPTIONS), CPU_PROVIDER])
    if session.get_providers()[0] != CUDA_PROVIDER:
        raise DeviceError("onnxruntime fell back to the CPU: the CUDA libraries didn't load")
    session.disable_fallback()  # else a failing run moves to the CPU without an error
    session.run(None, {"image": np.zeros((1, 16, 16, 3), np.uint8)})
    return session


def _new_session(path: Path, providers: list[Any]) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # onnxruntime counts the machine's cores; a container may own fewer.
    options.intra_op_num_threads = usable_cores()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=providers)


def usable_cores() -> int:
    """Count the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
