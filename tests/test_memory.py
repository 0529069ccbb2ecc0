import platform
import subprocess
import sys

import pytest

TRAIN = """
import resource
import torch
from retinex.training.memory import keep_freed_memory

if {keep}:
    keep_freed_memory()
net = torch.nn.Sequential(*(torch.nn.Conv2d(64, 64, 1) for _ in range(4)))
maps = torch.rand(16, 64, 96, 96)
for _ in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    net(maps).mean().backward()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults)
"""


def pages_cleared(keep: bool) -> int:
    """Train in a new process; count the pages that the system cleared for the fourth step."""
    program = [sys.executable, "-c", TRAIN.format(keep=keep)]
    return int(subprocess.run(program, capture_output=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc of glibc")
def test_steps_use_the_memory_of_former_steps() -> None:
    assert pages_cleared(keep=True) < pages_cleared(keep=False) / 4
