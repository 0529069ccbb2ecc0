"""Choice of the device and the number format that training runs in."""

from enum import StrEnum

import torch


class Precision(StrEnum):
    """Number format of the networks' arithmetic; weights and losses are float32 always."""

    AUTO = "auto"
    """bf16 where the hardware computes in it, fp32 elsewhere."""
    FP32 = "fp32"
    BF16 = "bf16"


def training_device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def resolve_precision(precision: Precision, device: torch.device) -> Precision:
    """Turn `AUTO` into `BF16` or `FP32`.

    A CPU without bf16 instructions emulates them, some eight times slower than fp32.
    """
    if precision is not Precision.AUTO:
        return precision
    has_bf16 = (
        torch.cuda.is_bf16_supported(including_emulation=False)
        if device.type == "cuda"
        else cpu_has_bf16()
    )
    return Precision.BF16 if has_bf16 else Precision.FP32


def cpu_has_bf16() -> bool:
    """Tell whether the CPU multiplies bf16 matrices in hardware (AMX or AVX512-BF16)."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


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
