"""Memory that one training step frees and the next wants again."""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
"""Names of glibc's settings (malloc.h)."""
MOST = 2**31 - 1
"""Largest value there is, which stands for never."""


def keep_freed_memory() -> None:
    """Let glibc's malloc keep what is freed instead of returning it to the system.

    It returns maps of 32 MB and more at once, and the system clears every page of the next one
    anew: a tenth of the time, and more of it the larger the maps
    (`benchmarks/training_speed.py`). Without glibc (macOS, Windows, Alpine Linux) nothing happens.
    """
    if libc := load_glibc():
        libc.mallopt(MMAP_MAX, 0)
        libc.mallopt(TRIM_THRESHOLD, MOST)


def load_glibc() -> ctypes.CDLL | None:
    """Return the C library this process runs on if it is glibc."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc if hasattr(libc, "mallopt") else None
