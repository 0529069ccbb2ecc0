"""What the demo's page and its endpoints share: running the networks."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any

import gradio as gr

from retinex.demo.settings import Settings
from retinex.device import Device, DeviceError, why_not_cuda
from retinex.experiments import DEFAULT_EXPERIMENT
from retinex.inference import CombinedEnhancer, Enhancement, ModelError, Progress
from retinex.machine import FULL_DISK
from retinex.photo import Photo

if os.environ.get("SPACES_ZERO_GPU"):  # other Hugging Face Spaces have the package, too
    import spaces
else:
    spaces = None

ONE_AT_A_TIME: dict[str, Any] = {"concurrency_id": "networks", "concurrency_limit": 1}
"""For events that run networks: each uses all cores."""


def borrows_gpu(settings: Settings) -> bool:
    """Tell whether runs are to borrow ZeroGPU's GPU."""
    return spaces is not None and settings.device in (Device.AUTO, Device.CUDA)


@cache
def load_enhancer(experiments: tuple[str, ...], settings: Settings) -> CombinedEnhancer:
    """Load the networks of a run once for all visitors; for the CPU where runs borrow a GPU.

    A process that has touched CUDA can't be forked into those that ZeroGPU lends its GPU to.
    """
    device = Device.CPU if borrows_gpu(settings) else settings.device
    return CombinedEnhancer(experiments, device, settings.models)


def run_networks(
    experiments: tuple[str, ...],
    photo: Photo,
    settings: Settings,
    progress: Progress | None = None,
) -> list[Enhancement]:
    """Run experiments as one, on ZeroGPU where there is one; `progress` isn't called there.

    Raises: what `progress` raises, and what gradio shows to the visitor.
    """
    if not borrows_gpu(settings):
        with failures_shown():
            return load_enhancer(experiments, settings).enhance(photo, progress)
    borrowed = _run_on_zero_gpu(experiments, photo, settings)
    if not isinstance(borrowed, str):
        return borrowed
    with failures_shown():  # not within the time that the GPU was lent for
        enhancements = load_enhancer(experiments, settings).enhance(photo, progress)
    return [replace(enhancement, device_reason=borrowed) for enhancement in enhancements]


@contextmanager
def failures_shown() -> Iterator[None]:
    """Turn what files, devices and full disks fail with into what gradio shows."""
    try:
        yield
    except (DeviceError, ModelError) as error:
        raise gr.Error(str(error), title="The networks failed") from error
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        text = "The server's disk is full. Older photos are deleted soon: try again in a while."
        raise gr.Error(text, title="No room") from error


@contextmanager
def failures_warned_of() -> Iterator[None]:
    """Leave out the rest of the block, and go on after it, if it fails so; the visitor is told."""
    try:
        with failures_shown():
            yield
    except gr.Error as error:
        gr.Warning(error.message, title=error.title)


def _run_on_cuda(
    experiments: tuple[str, ...], photo: Photo, settings: Settings
) -> list[Enhancement] | str:
    """Load and run experiments on CUDA; return why not if it doesn't work and needn't.

    ZeroGPU lends its GPU to a process that is forked for one call, and only there it can be found.
    """
    why_not_cuda.cache_clear()
    with failures_shown():  # here: of other errors the page would be told the kind alone
        try:
            return CombinedEnhancer(experiments, Device.CUDA, settings.models).enhance(photo)
        except DeviceError as error:
            if settings.device is Device.CUDA:
                raise
            return error.reason


def _seconds_to_borrow(experiments: tuple[str, ...], photo: Photo, settings: Settings) -> int:
    """Guess how long a run needs the GPU; ZeroGPU's default is more than visitors may have left."""
    return 15 + photo.rgb.size // 3_000_000


# ZeroGPU wants to see this before the page is served.
_run_on_zero_gpu = (
    _run_on_cuda if spaces is None else spaces.GPU(duration=_seconds_to_borrow)(_run_on_cuda)
)


def describe_device(settings: Settings, latest: Enhancement | None = None) -> str:
    """Say what the networks run on, as the `latest` enhancement did, and why on nothing faster."""
    if latest is None and borrows_gpu(settings):
        return "Runs on **ZeroGPU**, lent for each run"
    ran = latest or load_enhancer((DEFAULT_EXPERIMENT,), settings)
    asked_for = "as asked for" if ran.device is settings.device else ""
    reason = f" ({text})" if (text := ran.device_reason or asked_for) else ""
    return f"Runs on **{ran.device.label}**{reason}"
