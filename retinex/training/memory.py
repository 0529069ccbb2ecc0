"""Memory that one training step frees and the next wants again."""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Names of glibc's settings (malloc.h)."""
MOST = 2**31 - 1
"""Largest value there is, which stands for never."""


def keep_freed_memory() -> None:
    """Let glibc's malloc keep what is freed instead of returning it to the system.

    It returns maps of 32 MB and more at once, and the system clears every page of the next one
    anew: a tenth of the time, and more of it the larger the maps
    (`benchmarks/training_speed.py`). Without glibc (macOS, Windows, Alpine Linux) nothing happens.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(MMAP_MAX, 0)
        libc.mallopt(TRIM_THRESHOLD, MOST)
