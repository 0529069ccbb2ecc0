"""How the benchmarks time what they compare."""

import time
from collections.abc import Callable


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
