"""How the benchmarks measure time and memory of what they compare."""

import re
import time
from collections.abc import Callable
from pathlib import Path


def time_in_turns(
    compared: dict[str, Callable[[], object]],
    turns: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of every turn, by name; the first turn warms up.

    All run once a turn, so that a change of the machine's speed meets all of them.
    """
    seconds: dict[str, list[float]] = {name: [] for name in compared}
    for turn in range(turns + 1):
        for name, run in compared.items():
            started = clock()
            run()
            if turn > 0:
                seconds[name].append(clock() - started)
    return seconds


def peak_memory() -> int:
    """Largest resident memory this process has had, in bytes; 0 where the system isn't Linux.

    Not `ru_maxrss`: a process inherits that from the one that starts it.
    """
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+)", status.read_text()) if status.exists() else None
    return int(found[1]) * 1024 if found else 0
