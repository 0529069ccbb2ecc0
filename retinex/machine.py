"""How much of the machine this process may use: in a container perhaps less than there is."""

import errno
import os
from pathlib import Path

CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")
"""Where Linux tells a container its processor time in a period, both in microseconds."""
MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")
"""Where it tells it its memory in bytes."""
NO_LIMIT = "max"
FULL_DISK = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
"""What a full disk answers, and one on which a user may have no more; Windows has no quotas."""


def usable_cores() -> int:
    """Count the cores this process may use, in a container those that it may keep busy."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    if CPU_LIMIT.exists():
        quota, period = CPU_LIMIT.read_text().split()
        if quota != NO_LIMIT:
            return max(1, min(cores, int(quota) // int(period)))
    return cores


def usable_memory() -> int | None:
    """Return the bytes of memory that this process may fill; None on Windows, which doesn't say."""
    if not hasattr(os, "sysconf"):
        return None
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if MEMORY_LIMIT.exists() and (limit := MEMORY_LIMIT.read_text().strip()) != NO_LIMIT:
        return min(memory, int(limit))
    return memory
