"""Choice of the device and the number format that training runs in."""

import timeit
from enum import StrEnum

import torch
from torch import nn


class Precision(StrEnum):
    """Number format of the networks' arithmetic; weights and losses are float32 always."""

    AUTO = "auto"
    """bf16 where the hardware is faster in it, fp32 elsewhere."""
    FP32 = "fp32"
    BF16 = "bf16"


def training_device() -> torch.device:
    """Return the GPU if there is one, else the CPU; from then on float32 is float32 on both."""
    torch.backends.cudnn.allow_tf32 = False  # whose 10 bits cuDNN convolves in by default
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def resolve_precision(precision: Precision, device: torch.device) -> Precision:
    """Turn `AUTO` into `BF16` or `FP32`.

    A GPU takes bf16 if it computes in it, a CPU if that is faster.
    """
    if precision is not Precision.AUTO:
        return precision
    takes_bf16 = (
        torch.cuda.is_bf16_supported(including_emulation=False)
        if device.type == "cuda"
        else cpu_has_bf16() and cpu_is_faster_in_bf16()
    )
    return Precision.BF16 if takes_bf16 else Precision.FP32


def cpu_has_bf16() -> bool:
    """Tell whether the CPU multiplies bf16 matrices in hardware (AMX or AVX512-BF16).

    Others emulate them, some eight times slower than fp32.
    """
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def cpu_is_faster_in_bf16() -> bool:
    """Tell by timing: AMX is far faster, AMD's AVX512-BF16 is, too, but Intel's is slower."""
    return convolution_seconds(Precision.BF16) < convolution_seconds(Precision.FP32)


@torch.inference_mode()
def convolution_seconds(precision: Precision) -> float:
    """Return the seconds a layer such as Decom-Net's takes on the CPU, the least of a few."""
    layout = memory_format_for(precision)
    conv = nn.Conv2d(64, 64, kernel_size=3, padding=1).to(memory_format=layout)  # type: ignore[call-overload]
    features = torch.rand(4, 64, 96, 96).contiguous(memory_format=layout)
    with autocast_for(precision, torch.device("cpu")):
        return min(timeit.repeat(lambda: conv(features), number=1, repeat=4))


def autocast_for(precision: Precision, device: torch.device) -> torch.autocast:
    """Return the context the networks run in; usable any number of times."""
    return torch.autocast(
        device.type, dtype=torch.bfloat16, enabled=precision is Precision.BF16, cache_enabled=False
    )


def memory_format_for(precision: Precision) -> torch.memory_format:
    """Return the layout of photos and weights that is fastest in this number format.

    Kernels for bf16 want the channels last; those for fp32 are up to 35 % slower with them on some
    CPUs (`benchmarks/training_speed.py`).
    """
    return torch.channels_last if precision is Precision.BF16 else torch.contiguous_format
